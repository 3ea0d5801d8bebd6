//! Words to settings, and words that are refused.

use super::*;
use crate::config::{Amount, EncoderName, Every, MetaMode, SourceName};

fn resolve(line: &str) -> Result<RunConfig> {
    let line = format!("dimask config {line}");
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Some(Command::Config(args)) => args.resolve(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    <Cli as clap::CommandFactory>::command().debug_assert();
    let _: Cli = Cli::try_parse_from(["dimask"]).unwrap();
    let both = ["dimask", "train", "--resume", "x", "--epochs", "2"];
    assert!(Cli::try_parse_from(both).is_err());
    let threads = ["dimask", "train", "--resume", "x", "--threads", "2"];
    assert_eq!(Cli::try_parse_from(threads).unwrap().threads, Some(2));
}

#[test]
fn flags_are_settings() {
    let config = resolve(
        "--preset small --data cifar10:some/where --method simclr --meta first-order \
         --trial-step joint-shared --width 16 --encoder resnet18 --epochs 2 --images all \
         --batch-size 64 --lr 1 \
         --seed 9 --set loss.w_drr=0.5 --checkpoint-every 10",
    )
    .unwrap();
    assert_eq!((config.data.name, &*config.data.path), (SourceName::Cifar10, "some/where"));
    assert_eq!((config.model.encoder, config.model.width), (EncoderName::Resnet18, 16));
    assert_eq!((config.mask.meta, config.data.images), (MetaMode::FirstOrder, Amount::All));
    assert_eq!((config.optimizer.lr, config.loss.w_drr, config.seed), (1.0, 0.5, 9));
    assert_eq!((config.epochs, config.batch_size), (2, 64));
    assert_eq!(config.checkpoint_every, Every::Steps(10));
    for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200)] {
        let config = resolve(&format!("--checkpoint-every {text}")).unwrap();
        assert_eq!(config.checkpoint_every, Every::Seconds(seconds));
        assert!(config.to_toml().contains(&format!("checkpoint_every = \"{text}\"")));
    }
    assert!(!resolve("--no-mask").unwrap().mask.enabled);
    assert_eq!(resolve("").unwrap(), RunConfig::preset("demo").unwrap());
}

#[test]
fn other_images_leave_the_settings_of_the_own_set_behind() {
    let own = resolve("--data stl10:x --set data.learn_from=unlabelled").unwrap();
    assert_eq!(with_data(own.clone(), None).unwrap(), own);
    let other = with_data(own.clone(), Some("cifar10:y")).unwrap();
    assert_eq!((other.data.name, &*other.data.path), (SourceName::Cifar10, "y"));
    let moved = with_data(own.clone(), Some("stl10:y")).unwrap();
    assert_eq!(moved.data.learn_from, own.data.learn_from);
}

#[track_caller]
fn refused(line: &str, expected: &str) {
    let error = resolve(line).expect_err("should be refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn wrong_flags_are_named() {
    refused("--preset big", "--preset: \"big\" is none of demo, small, official");
    refused("--epochs two", "--epochs: invalid type: string \"two\"");
    refused("--epochs -1", "--epochs: invalid value: integer `-1`");
    refused("--epochs 0", "epochs: is 0");
    for time in ["0m", "m", "-1s", "1.5h", "10", "x"].map(|time| format!("\"{time}\"")) {
        let line = format!("--set checkpoint_every={time}");
        refused(&line, &format!("--set checkpoint_every: invalid value: string {time}"));
    }
    refused("--data imagenet", "--data: \"imagenet\" is none of fashion-mnist,");
    refused("--encoder vit", "--encoder: \"vit\" is none of conv4, resnet18");
    refused("--set loss.bt_mode=x", "--set loss.bt_mode: \"x\" is none of two-heads, one-head,");
    refused("--method x", "--method: \"x\" is none of barlow-twins, simclr, byol, dcl, hcl, nn");
    refused("--augment x", "--augment: \"x\" is none of official, symmetric, asymmetric");
    refused("--lr -1", "optimizer.lr: is -1");
    refused("--images 100", "batch_size: is 256, more than the run's 100 images");
    refused("--set loss.x=1", "--set loss.x: \"x\" is none of beta, bt_mode,");
}
