//! Misuse of what judges features.

use dimask::Tensor;
use dimask::eval::bound::{Bound, BoundSettings, bound};
use dimask::eval::collapse::Spread;
use dimask::eval::dimensions::{correlation_ratio, spearman};
use dimask::eval::few_labels::{few_labels_probe, logistic_probe};
use dimask::eval::knn::{Knn, Vote, knn};
use dimask::eval::linear_probe::{Classifier, LinearProbe, linear_probe};
use dimask::eval::pca::pca;
use dimask::eval::selection::{choose, control};
use dimask::eval::statistics::{
    confusion, correlation, effective_rank, feature_std, mean_abs_correlation, standardized,
    topk_accuracy, topk_correct,
};
use dimask::eval::tsne::{Tsne, tsne, unit_rows};
use dimask::eval::{EvalSettings, Extent, Rows, evaluate, working_bytes};

use super::{panics, zeros};

const VOTE: Vote = Vote { k: 1, temperature: 1.0 };

/// The votes of two queries for three classes.
fn voted() -> Knn {
    knn(&zeros(&[4, 3]), &[0, 1, 2, 0], &zeros(&[2, 3]), 3, &[VOTE]).remove(0)
}

/// A classifier of three columns and two classes.
fn classifier() -> Classifier<f64> {
    let settings = LinearProbe { epochs: 1, ..LinearProbe::default() };
    linear_probe(&zeros(&[4, 3]), &[0, 1, 0, 1], 2, &settings, 0)
}

fn measured() -> Bound {
    let settings = BoundSettings { negatives: 2, draws: 1, resamplings: 1, ..Default::default() };
    bound(&zeros(&[4, 3]), &zeros(&[4, 3]), &[0, 1, 0, 1], 2, &settings)
}

fn not_finite() -> Tensor<f64> {
    Tensor::full(&[4, 3], f64::NAN)
}

panics! {
    rows_of_a_vector, Tensor::size, "size: expected [N, D], got [3]": zeros(&[3]).size("size");
    rows_that_are_not_there, Tensor::rows, "rows: row 4 of 4": zeros(&[4, 3]).rows(&[0, 4]);

    topk_correct_of_too_few_labels, topk_correct, "topk_correct: 1 labels for 4 rows":
        topk_correct(&zeros(&[4, 3]), &[0], 1);
    topk_correct_of_a_foreign_label, topk_correct,
        "topk_correct: label 3 of row 1 is not below 3 classes":
        topk_correct(&zeros(&[2, 3]), &[0, 3], 1);
    topk_accuracy_of_no_classes, topk_accuracy, "topk_accuracy: no columns in [4, 0]":
        topk_accuracy(&zeros(&[4, 0]), &[0; 4], 1);
    topk_accuracy_of_a_foreign_label, topk_accuracy, "topk_accuracy: label 7 of row 0":
        topk_accuracy(&zeros(&[2, 3]), &[7, 0], 1);
    confusion_of_a_foreign_label, confusion, "confusion: label 3 of row 1 is not below 3 classes":
        confusion(&zeros(&[2, 3]), &[0, 3]);
    feature_std_of_a_vector, feature_std, "feature_std: expected [N, D], got [3]":
        feature_std(&zeros(&[3]));
    effective_rank_of_no_columns, effective_rank, "effective_rank: no columns in [4, 0]":
        effective_rank(&zeros(&[4, 0]));
    mean_abs_correlation_of_a_vector, mean_abs_correlation, "mean_abs_correlation: expected [N":
        mean_abs_correlation(&zeros(&[3]));
    correlation_of_unequal_shapes, correlation, "correlation: [4, 3] and [4, 2]":
        correlation(&zeros(&[4, 3]), &zeros(&[4, 2]));
    standardized_vector, standardized, "standardized: expected [N, D], got [3]":
        standardized(&zeros(&[3]));
    spread_of_a_vector, Spread::of, "Spread::of: expected [N, D], got [3]":
        Spread::of(&zeros(&[3]));
    correlation_ratio_of_a_foreign_label, correlation_ratio,
        "correlation_ratio: label 2 of row 3 is not below 2 classes":
        correlation_ratio(&zeros(&[4, 3]), &[0, 1, 0, 2], 2);
    spearman_of_unequal_lists, spearman, "spearman: 1 and 2 values": spearman(&[1.0], &[1.0, 2.0]);

    knn_without_a_bank, knn, "knn: bank [0, 3], queries [2, 3]":
        knn(&zeros(&[0, 3]), &[], &zeros(&[2, 3]), 3, &[VOTE]);
    knn_of_a_vector, knn, "knn: bank: expected [N, D], got [3]":
        knn(&zeros(&[3]), &[0], &zeros(&[2, 3]), 3, &[VOTE]);
    knn_of_another_width, knn, "knn: bank [4, 3], queries [2, 2]":
        knn(&zeros(&[4, 3]), &[0; 4], &zeros(&[2, 2]), 3, &[VOTE]);
    knn_of_a_foreign_label, knn, "knn: label 3 of row 2 is not below 3 classes":
        knn(&zeros(&[4, 3]), &[0, 1, 3, 9], &zeros(&[2, 3]), 3, &[VOTE]);
    knn_of_no_neighbours, knn, "knn: Vote { k: 0, temperature: 1.0 }":
        knn(&zeros(&[4, 3]), &[0; 4], &zeros(&[2, 3]), 3, &[Vote { k: 0, ..VOTE }]);
    knn_of_a_bank_that_is_not_finite, knn, "knn: a feature is not finite":
        knn(&not_finite(), &[0; 4], &zeros(&[2, 3]), 3, &[VOTE]);
    knn_of_queries_that_are_not_finite, knn, "knn: a feature is not finite":
        knn(&zeros(&[4, 3]), &[0; 4], &not_finite(), 3, &[VOTE]);
    votes_for_too_few_labels, Knn::correct, "Knn::correct: 1 labels for 2 rows":
        voted().correct(&[0], 1);
    votes_for_a_foreign_label, Knn::accuracy, "Knn::accuracy: label 3 of row 0 is not below 3":
        voted().accuracy(&[3, 0], 1);

    linear_probe_of_no_rows, linear_probe, "linear_probe: no training rows in [0, 3]":
        linear_probe(&zeros(&[0, 3]), &[], 2, &LinearProbe::default(), 0);
    linear_probe_of_a_foreign_label, linear_probe,
        "linear_probe: label 2 of row 1 is not below 2 classes":
        linear_probe(&zeros(&[2, 3]), &[0, 2], 2, &LinearProbe::default(), 0);
    linear_probe_of_empty_batches, linear_probe, "linear_probe: batches of no rows":
        linear_probe(
            &zeros(&[2, 3]), &[0, 1], 2, &LinearProbe { batch_size: 0, ..Default::default() }, 0,
        );
    scores_of_another_width, Classifier::scores,
        "Classifier::scores: 2 columns for a classifier of 3":
        classifier().scores(&zeros(&[4, 2]));
    accuracy_of_another_width, Classifier::accuracy,
        "Classifier::accuracy: 2 columns for a classifier of 3":
        classifier().accuracy(&zeros(&[4, 2]), &[0; 4], 1);
    accuracy_of_a_foreign_label, Classifier::accuracy,
        "Classifier::accuracy: label 2 of row 0 is not below 2 classes":
        classifier().accuracy(&zeros(&[1, 3]), &[2], 1);
    contributions_of_a_foreign_label, Classifier::contributions,
        "contributions: label 2 of row 0 is not below 2 classes":
        classifier().contributions(&zeros(&[1, 3]), &[2]);
    few_labels_of_no_fraction, few_labels_probe, "few_labels_probe: 1.5 is no fraction":
        few_labels_probe(&zeros(&[2, 3]), &[0, 1], &zeros(&[1, 3]), &[0], 2, 1.5, 0);
    few_labels_of_another_width, few_labels_probe,
        "few_labels_probe: 3 training columns, 2 test columns":
        few_labels_probe(&zeros(&[2, 3]), &[0, 1], &zeros(&[1, 2]), &[0], 2, 0.5, 0);
    few_labels_of_a_foreign_label, few_labels_probe,
        "few_labels_probe: label 2 of row 0 is not below 2 classes":
        few_labels_probe(&zeros(&[2, 3]), &[2, 1], &zeros(&[1, 3]), &[0], 2, 0.5, 0);
    few_labels_of_too_many_test_labels, few_labels_probe,
        "few_labels_probe: 2 labels for 1 rows":
        few_labels_probe(&zeros(&[2, 3]), &[0, 1], &zeros(&[1, 3]), &[0, 1], 2, 0.5, 0);
    logistic_probe_of_no_rows, logistic_probe, "logistic_probe: no training rows in [0, 3]":
        logistic_probe(&zeros(&[0, 3]), &[], 2);
    logistic_probe_of_a_foreign_label, logistic_probe,
        "logistic_probe: label 2 of row 1 is not below 2 classes":
        logistic_probe(&zeros(&[2, 3]), &[0, 2], 2);
    evaluation_of_another_width, evaluate, "evaluate: train [4, 3], test [2, 2]":
        evaluate(
            &zeros(&[4, 3]), Some(&[0; 4]), &zeros(&[2, 2]), Some(&[0; 2]), 1,
            &EvalSettings::default(),
        ).is_ok();
    evaluation_of_a_foreign_label, evaluate,
        "evaluate: label 1 of row 1 is not below 1 classes":
        evaluate(
            &zeros(&[4, 3]), Some(&[0; 4]), &zeros(&[2, 3]), Some(&[0, 1]), 1,
            &EvalSettings::default(),
        ).is_ok();
    memory_for_no_dimensions, working_bytes, "working_bytes: features of no dimensions":
        working_bytes([10, 10], 0, 2, Extent::Full);

    bound_of_one_image, bound, "bound: [u, positive] are [[1, 3], [1, 3]]":
        bound(&zeros(&[1, 3]), &zeros(&[1, 3]), &[0], 1, &BoundSettings::default());
    bound_of_unequal_views, bound, "bound: [u, positive] are [[4, 3], [4, 2]]":
        bound(&zeros(&[4, 3]), &zeros(&[4, 2]), &[0; 4], 1, &BoundSettings::default());
    bound_of_a_foreign_label, bound, "bound: label 1 of row 3 is not below 1 classes":
        bound(&zeros(&[4, 3]), &zeros(&[4, 3]), &[0, 0, 0, 1], 1, &BoundSettings::default());
    term_that_is_not_there, Bound::value, "Bound::value: there is no term \"D\", only [\"L_con\"":
        measured().value("D");
    principal_components_of_no_rows, pca, "pca: no rows in [0, 3]": pca(&zeros(&[0, 3]), 2);
    map_of_what_is_not_finite, tsne, "tsne: a feature is not finite":
        tsne(&not_finite(), &Tsne::default());
    unit_rows_of_no_columns, unit_rows, "unit_rows: no columns in [4, 0]":
        unit_rows(&zeros(&[4, 0]));
    choice_of_nothing, choose, "choose: no candidates": choose(&[], &[true], &[true]);
    choice_of_unequal_lengths, choose, "choose: lists of 1 and of 2 images":
        choose(&[vec![true]], &[true, false], &[true, false]);
    choice_on_an_empty_half, choose, "choose: an empty half":
        choose(&[vec![true; 2]], &[true; 2], &[true; 2]);
    control_of_one_image, control, "control: 1 images cannot be halved":
        control(&[vec![true]], &[true], 3, 0);
    control_of_unequal_lengths, control, "control: lists of 1 and of 2 images":
        control(&[vec![true]], &[true, false], 3, 0);
}
