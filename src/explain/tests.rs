//! The registry's laws.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_example_gives_the_same_numbers_by_formula_and_by_code() {
    for formula in formulas() {
        let Example { given, lines, tolerance } = (formula.example)();
        assert!(!given.is_empty() && !lines.is_empty(), "{}: nothing is computed", formula.id);
        for line in &lines {
            let Line { what, by_formula, by_code } = line;
            let agrees = line.agrees(tolerance);
            assert!(agrees, "{}: {what} is {by_formula} by formula, {by_code} by code", formula.id);
        }
        // What is compared must be able to differ: not all of it is zero.
        assert!(lines.iter().any(|line| line.by_code != 0.0), "{}: all is zero", formula.id);
    }
}

#[test]
fn ids_are_a_word_and_a_number_and_stand_once() {
    let mut seen = BTreeSet::new();
    for formula in formulas() {
        let (word, number) = formula.id.rsplit_once('-').expect("a word, a minus, a number");
        assert!(word.chars().all(|c| c.is_ascii_lowercase()), "{}", formula.id);
        assert!(number.parse::<usize>().is_ok_and(|n| n > 0), "{}", formula.id);
        assert!(seen.insert(formula.id), "{} stands twice", formula.id);
        // Within a word they are counted without a gap.
        let before = number.parse::<usize>().unwrap_or(1) - 1;
        let known = before == 0 || seen.contains(format!("{word}-{before}").as_str());
        assert!(known, "{} comes without {word}-{before} before it", formula.id);
    }
    assert!(seen.len() > 40, "{} formulas", seen.len());
}

#[test]
fn an_unknown_id_is_led_to_known_ones() {
    assert!(find("meta-3").is_some() && find("meta-33").is_none());
    assert_eq!(near("meta-33"), ["meta-3"]);
    assert_eq!(near("simcrl-1"), ["simclr-1"]);
    assert_eq!(near("Barlow"), ["barlow-1", "barlow-2", "barlow-3"]);
    assert!(near("7").is_empty() && near("").is_empty());
}
