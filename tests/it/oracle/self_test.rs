//! The harness on directories of its own: it must see a wrong value, and depend on nothing but the
//! format.

use super::store::Numbers;
use super::{Report, case::Case, check_directory, directory, store};
use crate::support::TempDir;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What wrong values are wrong by: exact in both float types.
const ERROR: f64 = 1.0 / 1024.0;

/// A directory with one case.
struct Made {
    folder: TempDir,
    case: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Made {
    fn new(op: &str, attrs: Value) -> Made {
        let tol = json!({
            "f64": {"rtol": 1e-9, "atol": 1e-11}, "f32": {"rtol": 1e-4, "atol": 1e-6}
        });
        let case = json!({
            "name": "made", "file": "made.safetensors", "group": "ops", "op": op, "attrs": attrs,
            "formula": "", "tol": tol, "tensors": {}
        });
        Made { folder: TempDir::new("oracle"), case, tensors: BTreeMap::new() }
    }

    fn with(mut self, name: &str, role: &str, shape: &[usize], values: &[f64]) -> Made {
        self.case["tensors"][name] =
            json!({"shape": shape, "dtype": "F64", "role": role, "meaning": ""});
        self.tensors.insert(name.to_string(), (shape.to_vec(), values.to_vec()));
        self
    }

    fn check(&self) -> Report {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                (name.clone(), shape.clone(), bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F64, shape.clone(), bytes);
            (name.clone(), view.expect("the bytes fill the shape"))
        });
        let file = serialize(views, None).expect("the tensors can be written");
        let index = json!({"cases": [self.case]}).to_string();
        let write = |name: &str, bytes: &[u8]| {
            let path = self.folder.path().join(name);
            std::fs::write(path, bytes).expect("the temporary folder can be written");
        };
        write("made.safetensors", &file);
        write("index.json", index.as_bytes());
        check_directory(self.folder.path()).expect("the directory has a case")
    }

    /// The only failure text expected, in both float types or one.
    fn fails_with(&self, text: &str) {
        let report = self.check();
        let all = report.failures.join("\n");
        assert!(!report.failures.is_empty(), "no failure, expected `{text}`");
        assert!(report.failures.iter().all(|f| f.contains(text)), "expected `{text}`, got\n{all}");
    }
}

/// `y = x w^T` on shapes that the shipped values do not have, by hand.
fn linear() -> Made {
    Made::new("linear", json!({"bias": false}))
        .with("x", "input", &[1, 2], &[2.0, -1.0])
        .with("w", "input", &[3, 2], &[1.0, 0.5, -2.0, 4.0, 0.0, 8.0])
        .with("g", "cotangent", &[1, 3], &[1.0, 0.5, 0.25])
        .with("v_x", "direction", &[1, 2], &[1.0, 1.0])
        .with("y", "output", &[1, 3], &[1.5, -8.0, -8.0])
        .with("grad_x", "grad", &[1, 2], &[0.0, 4.5])
        .with("gg_g", "second", &[1, 3], &[1.5, 2.0, 8.0])
}

#[test]
fn oracle_takes_any_directory_of_the_format() {
    let report = linear().check();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!((report.checked, report.excepted, report.tensors), (1, 0, 3));
    // Exact in f32 too: all these numbers are.
    assert_eq!(report.worst, [0.0, 0.0]);
}

#[test]
fn oracle_sees_one_wrong_value_and_says_where() {
    let mut wrong = linear();
    let grad = wrong.tensors.get_mut("grad_x").expect("there is a gradient");
    grad.1[1] += ERROR;
    let report = wrong.check();
    // Two ways to compute it, in two float types.
    assert_eq!(report.failures.len(), 4, "{:?}", report.failures);
    for (failure, float) in report.failures.iter().zip(["f64", "f64", "f32", "f32"]) {
        assert!(failure.starts_with(&format!("made (linear, {float}): `grad_x`")), "{failure}");
        assert!(failure.contains("error 9.765625e-4") && failure.contains("allowed"), "{failure}");
    }
}

#[test]
fn oracle_sees_a_wrong_value_only_above_the_tolerance_of_the_tensor() {
    let mut wide = linear();
    wide.tensors.get_mut("y").expect("there is an output").1[0] += ERROR;
    wide.case["tensors"]["y"]["tol"] = json!({"f32": {"rtol": 1e-3, "atol": 1e-6}});
    let report = wide.check();
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    assert!(report.failures[0].starts_with("made (linear, f64): `y`: error 9.765625e-4"));
}

#[test]
fn oracle_fails_on_what_it_does_not_know() {
    let change = |key: &str, value: Value| {
        let mut made = linear();
        made.case[key] = value;
        made
    };
    change("op", json!("linear_of_tomorrow")).fails_with("unknown op `linear_of_tomorrow`");
    change("attrs", json!({"bias": false, "rank": 2})).fails_with("unknown attribute `rank`");
    change("attrs", json!({"bias": "sometimes"})).fails_with("unknown value \"sometimes\"");
    change("attrs", json!({})).fails_with("there is no attribute `bias`");
    change("tol", json!({})).fails_with("the index gives no tolerance");
    linear().with("more", "output", &[1], &[0.0]).fails_with("nothing is computed for `more`");
    linear().with("role", "guess", &[1], &[0.0]).fails_with("unknown role `guess`");
    linear().with("y", "output", &[3], &[1.5, -8.0, -8.0]).fails_with("got shape [1, 3]");
    let pooled = json!({"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0],
        "count_include_pad": 7});
    Made::new("avg_pool2d", pooled)
        .with("x", "input", &[1, 1, 1, 1], &[1.0])
        .with("y", "output", &[1, 1, 1, 1], &[1.0])
        .fails_with("unknown value 7 of attribute `count_include_pad`");
    let empty = linear();
    let folder = empty.folder.path().to_path_buf();
    std::fs::write(folder.join("index.json"), json!({"cases": []}).to_string())
        .expect("the temporary folder can be written");
    assert!(check_directory(&folder).is_err(), "an index without a case to check is a failure");
}

#[test]
fn oracle_turns_a_panic_of_the_engine_into_a_failure() {
    let mut bad = linear();
    bad = bad.with("x", "input", &[1, 3], &[1.0, 2.0, 3.0]);
    bad = bad.with("v_x", "direction", &[1, 3], &[1.0, 1.0, 1.0]);
    bad.fails_with("panicked: matmul");
}

#[test]
fn oracle_sees_a_nan() {
    let mut bad = linear();
    bad.tensors.get_mut("x").expect("there is an input").1[0] = f64::NAN;
    let report = bad.check();
    let seen = report.failures.iter().any(|failure| failure.contains("is NaN, reference"));
    assert!(seen, "{:?}", report.failures);
}

#[test]
fn oracle_reads_every_shipped_case() {
    // Also the excepted ones: their files must be there when the next version wants them.
    let directory = directory();
    let index = store::read_index(&directory).expect("the index can be read");
    for info in &index.cases {
        let case = Case::read(&directory, info).unwrap_or_else(|e| panic!("{}: {e}", info.name));
        for name in info.tensors.keys() {
            if let Numbers::Floats(values) = &case.raw(name).expect("it was checked").numbers {
                assert!(values.iter().all(|x| x.is_finite()), "{}: {name}", info.name);
            }
        }
    }
}
