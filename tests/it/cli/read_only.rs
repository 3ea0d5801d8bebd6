//! Folders that nothing may be written to: what a run says there, and that it loses nothing.

use super::runs::{killed_run, start_command, wait_for_steps};
use super::{Bench, TINY, program, run, run_command};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A command as somebody runs it who may write only where the permissions say so: the system's root
/// may everywhere, so that right is taken away.
fn bound(own: Command) -> Command {
    if !is_root() {
        return own;
    }
    let rights = "-dac_override,-dac_read_search";
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set={rights}")).arg(format!("--inh-caps={rights}"));
    command.arg(own.get_program()).args(own.get_args());
    own.get_current_dir().map(|folder| command.current_dir(folder));
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

fn permit(folder: &Path, mode: u32) {
    fs::set_permissions(folder, Permissions::from_mode(mode)).expect("it is our own folder");
}

/// Whether permissions hold for [`bound`] commands on this machine.
fn permissions_hold(bench: &Bench) -> bool {
    let folder = bench.path("probe");
    fs::create_dir(&folder).expect("the folder can be made");
    let touches = |name: &str| {
        let mut touch = Command::new("touch");
        touch.arg(folder.join(name));
        bound(touch).output().is_ok_and(|done| done.status.success())
    };
    let may = touches("a");
    permit(&folder, 0o555);
    let may_not = !touches("b");
    permit(&folder, 0o755);
    may && may_not
}

#[test]
fn a_run_that_may_not_write_says_so_and_goes_on_later_to_the_same_bits() {
    let bench = Bench::new("bound");
    run(&bench.train("whole", &TINY)).ok();
    if !permissions_hold(&bench) {
        println!("NOT CHECKED: nothing on this machine makes permissions hold for this user");
        return;
    }
    let advice = "look at its permissions, or choose another place";

    // A new run where no folder may be made: before it is anything.
    let closed = bench.path("closed");
    fs::create_dir(&closed).expect("the folder can be made");
    permit(&closed, 0o555);
    run_command(bound(program(&bench.train("closed/run", &TINY))))
        .fails(1, &["closed/run", advice]);
    assert_eq!(fs::read_dir(&closed).expect("it is there").count(), 0);

    // A run that goes on: before it takes a step.
    killed_run(&bench, "run", 5, &[&TINY[..], &["--checkpoint-every", "3"]].concat());
    let folder = bench.path("run");
    // As a kill during a save leaves it.
    fs::write(folder.join(".checkpoint.safetensors.tmp"), "half").expect("it may still be written");
    let contents = || {
        let files = fs::read_dir(&folder).expect("it is there").flatten();
        let files = files.filter(|file| file.file_name() != ".lock");
        let mut all: Vec<_> =
            files.map(|file| (file.file_name(), fs::read(file.path()).expect("a file"))).collect();
        all.sort();
        all
    };
    let before = contents();
    permit(&folder, 0o555);
    let resume = ["train".to_string(), "--resume".into(), bench.text("run")];
    let done = run_command(bound(program(&resume)));
    assert!(!done.stderr.contains("going on after step"), "{}", done.stderr);
    assert!(done.stderr.contains("the last state that was saved is kept"), "{}", done.stderr);
    done.fails(1, &["checkpoint.safetensors", advice]);
    assert!(contents() == before, "nothing has changed");
    permit(&folder, 0o755);
    run(&resume).ok();
    assert_eq!(bench.weights("run"), bench.weights("whole"));

    // A folder that is closed while its run goes on: at the next checkpoint.
    let long = [&TINY[..], &["--epochs", "200", "--checkpoint-every", "3"]].concat();
    let child = start_command(bound(program(&bench.train("live", &long))));
    wait_for_steps(&bench, "live", 5);
    permit(&bench.path("live"), 0o555);
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(advice) && told.contains("dimask train --resume"), "{told}");
    permit(&bench.path("live"), 0o755);
    let steps = bench.read("live/metrics.jsonl").lines().count();
    let resume = ["train".to_string(), "--resume".into(), bench.text("live")];
    let child = start_command(program(&resume));
    wait_for_steps(&bench, "live", steps + 3);
    super::runs::kill(child);
}

#[test]
fn a_run_on_a_read_only_file_system_says_so() {
    let bench = Bench::new("mounted");
    killed_run(&bench, "run", 5, &[&TINY[..], &["--checkpoint-every", "3"]].concat());
    let mounted = |then: &str| {
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && ";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{script}{then}")]);
        command.args([env!("CARGO_BIN_EXE_dimask"), &bench.text("run")]);
        command
    };
    // Whether this machine lets a process have mounts of its own.
    let probe = mounted("! touch \"$1/file\"").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("NOT CHECKED: this machine has no file system that can be made read-only");
        return;
    }
    let state = || fs::read(bench.path("run/checkpoint.safetensors")).expect("step 3 was saved");
    let before = state();
    let done = run_command(mounted("exec \"$0\" train --resume \"$1\""));
    done.fails(1, &["run", "Read-only file system", "or choose another place"]);
    assert!(state() == before);
}
