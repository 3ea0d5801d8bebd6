//! Each function of `wide!` at each level against its plain body, which level scalar runs.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::kernels::amx::{BLOCK, PAIR, interleave, pack_rows};
use crate::kernels::arch::{REGISTER, STEPS};
use crate::kernels::bf16::Bf16;
use crate::kernels::dispatch::tests::{levels, runs};

/// The tests that reach the functions of `wide!`.
const TESTS: [fn(); 12] = [
    elementwise::maps_and_zips_are_their_definitions_in_both_types,
    norm::batch_norm_kernels_are_their_definitions_in_both_types,
    norm_tails::pooled_kernels_are_their_definitions_in_both_types,
    norm_tails::relu_kernels_are_their_definitions_in_both_types,
    packing_for_amx_puts_each_number_in_its_place,
    reduce::cross_entropy_is_its_definition_in_both_types,
    reduce::l2_normalize_is_its_definition_in_both_types,
    reduce::max_axis_is_its_definition_in_both_types,
    reduce::max_pool2d_is_its_definition,
    reduce::places_above_a_threshold_are_all_found_in_order,
    reduce::sum_is_its_definition_in_both_types,
    reduce::sum_to_is_its_definition_in_both_types,
];

#[test]
fn packing_for_amx_puts_each_number_in_its_place() {
    let (stride, x) = (90, random::<f32>(8, 3 * BLOCK * BLOCK));
    let at = |x: &[f32], i: usize| x.get(i).map_or(0.0, |&x| Bf16::new(x).to_f32());
    // Twice 45 steps are twice two blocks, of which the second is not full.
    let (rows, times, steps) = (29, 2, 45);
    let mut packed = vec![Bf16::new(f32::NAN); 4 * PAIR];
    pack_rows(&x, stride, rows, times, steps, &mut packed);
    for (i, x_packed) in packed.iter().enumerate() {
        let (block, row, step) = (i / PAIR, i % PAIR / STEPS, i % STEPS);
        let (time, step) = (block / 2, block % 2 * STEPS + step);
        let exists = row < rows && step < steps;
        let wanted = if exists { at(&x, row * stride + time * steps + step) } else { 0.0 };
        assert_eq!(x_packed.to_f32(), wanted, "row {row}, time {time}, step {step}");
    }
    let (steps, columns) = (31, 30);
    interleave(&x, stride, steps, columns, &mut packed[..PAIR]);
    for (i, x_packed) in packed[..PAIR].iter().enumerate() {
        let step = i % REGISTER / STEPS * 2 + i % 2;
        let column = i / REGISTER * BLOCK / 2 + i % STEPS / 2;
        let exists = step < steps && column < columns;
        let wanted = if exists { at(&x, step * stride + column) } else { 0.0 };
        assert_eq!(x_packed.to_f32(), wanted, "step {step}, column {column}");
    }
}

/// The functions in the blocks of `wide!` below a folder, each with its file.
fn defined(folder: &str) -> BTreeSet<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for entry in root.join(folder).read_dir().unwrap() {
        let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if !path.ends_with(".rs") {
            found.extend(defined(&path));
            continue;
        }
        let text = std::fs::read_to_string(root.join(&path)).unwrap();
        let blocks =
            text.split("\nwide! {\n").skip(1).filter_map(|rest| rest.split("\n}\n").next());
        // Brackets follow the name of a function: see the macro.
        let lines = blocks
            .flat_map(str::lines)
            .filter_map(|line| line.split_once("fn ")?.1.split_once('['));
        found.extend(lines.map(|(name, _)| (path.clone(), name.to_owned())));
    }
    found
}

#[test]
fn every_wide_function_has_its_plain_bits_at_every_level() {
    for (i, test) in TESTS.into_iter().enumerate() {
        // What the test compares with tolerances has to be equal to the bit.
        let bits = |level| {
            at(level, 2, || {
                test();
                SEEN.take().finish()
            })
        };
        let plain = bits(Level::Scalar);
        for level in levels() {
            assert_eq!(bits(level), plain, "{level:?} differs from the plain code in test {i}");
        }
    }
    let (defined, ran) = (defined("src/kernels"), runs());
    assert!(defined.len() > 20, "these are not all functions of `wide!`: {defined:?}");
    for (file, name) in &defined {
        for level in levels() {
            let run = ran.contains(&(file, name, level));
            assert!(run, "no test of the list reaches `{name}` of {file} at {level:?}");
        }
    }
}
