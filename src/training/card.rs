//! Reports come in; the model card goes out, as Markdown. The command prints the same tables.

use std::fmt::Write as _;

use super::regression::ClassWeights;
use super::report::{Report, Set};
use super::selection::{Recipe, Trial};
use crate::evaluation::{Interval, Split};
use crate::grading::Grade;

/// What is asked of the copies: the same grade in at least this many of 14 photographs, as a share.
const SAME_GRADE: f64 = 11.0 / 14.0;

/// And a mean of the largest difference of a probability within this.
const DIFFERENCE: f64 = 0.12;

/// The whole card.
pub fn card(reports: &[Report]) -> String {
    let mut text = include_str!("card.md").to_owned();
    for report in reports {
        let _ = write!(text, "\n## {}\n\n{}", report.network.label(), section(report));
    }
    text
}

/// What the card says of one network.
pub fn section(report: &Report) -> String {
    [about(report), selection(report), figures(report), confusions(report), cuts(report), samples(report)].join("\n")
}

fn about(report: &Report) -> String {
    let mut text = format!("{} Licence of the backbone: {}.\n\n", sentence(&report.provenance), report.licence);
    for (file, hash) in &report.files {
        let _ = writeln!(text, "- `{file}`, SHA-256 `{hash}`");
    }
    let used: Vec<String> =
        report.photographs.iter().map(|(split, count)| format!("{count} in {}", name(*split))).collect();
    let _ = writeln!(text, "- photographs: {}", used.join(", "));
    if !report.refused.is_empty() {
        let files: Vec<&str> = report.refused.iter().map(|(file, _)| file.as_str()).collect();
        let _ = writeln!(text, "- refused, and in no figure: {} ({})", files.len(), files.join(", "));
    }
    if !report.zero_kernels.is_empty() {
        let kernels: Vec<String> = report.zero_kernels.iter().map(|kernel| format!("`{kernel}`")).collect();
        let _ = writeln!(text, "- missing in the source and zero here: {}", kernels.join(", "));
    }
    let (constant, features) = (report.constant_features, report.features);
    let _ = writeln!(
        text,
        "- of {features} pooled features, {constant} are the same for every photograph and have no weight"
    );
    text
}

fn selection(report: &Report) -> String {
    let chosen = &report.chosen;
    let mut text = format!(
        "Chosen on `val`: {}. The best of each kind:\n\n\
         | photographs and weights | L2 | mean kappa of the sources | pooled kappa | AUC |\n| --- | --- | --- | --- | --- |\n",
        describe(&chosen.recipe)
    );
    for restored in [false, true] {
        for weights in [ClassWeights::None, ClassWeights::Balanced] {
            let kind = report.trials.iter().filter(|t| t.recipe.restored == restored && t.recipe.weights == weights);
            let best = kind.max_by(|a, b| a.criterion.total_cmp(&b.criterion));
            if let Some(Trial { recipe, criterion, pooled_kappa, referable_auc, .. }) = best {
                let (kind, penalty) = (kind_of(recipe), recipe.penalty);
                let _ =
                    writeln!(text, "| {kind} | {penalty} | {criterion:.3} | {pooled_kappa:.3} | {referable_auc:.3} |");
            }
        }
    }
    text
}

fn figures(report: &Report) -> String {
    let mut text =
        "| split | source | photographs | kappa | AUC | accuracy | promises too much | outline only: kappa, AUC |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for Set { split, source, figures, outline_only } in &report.sets {
        let _ = writeln!(
            text,
            "| {} | {source} | {} | {} | {} | {} | {} | {}, {} |",
            name(*split),
            figures.confusion.total(),
            with_interval(figures.kappa, figures.kappa_interval),
            with_interval(figures.referable_auc, figures.referable_auc_interval),
            number(figures.accuracy),
            number(figures.overconfidence),
            number(outline_only.kappa),
            number(outline_only.referable_auc),
        );
    }
    text
}

fn confusions(report: &Report) -> String {
    let mut text = "Grades given, by reference:\n\n| split | source | reference | 0 | 1 | 2 | 3 | 4 |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for set in report.sets.iter().filter(|set| set.split != Split::Val) {
        for (grade, row) in Grade::ALL.into_iter().zip(set.figures.confusion.rows()) {
            let counts: Vec<String> = row.iter().map(u64::to_string).collect();
            let (split, source) = (name(set.split), &set.source);
            let _ = writeln!(text, "| {split} | {source} | {} | {} |", grade.digit(), counts.join(" | "));
        }
    }
    text
}

fn cuts(report: &Report) -> String {
    let mut text = "When a field that is whole at top and bottom is cut there to the aspect of 3 : 2 (photographs of `test`; part of the\n\
                    retina goes with it):\n\n\
                    | source | photographs | grade raised | lowered | mean change | change of referable probability |\n\
                    | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for cut in &report.cut {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} % | {:.1} % | {:+.3} | {:+.3} |",
            cut.source,
            cut.photographs,
            100.0 * cut.raised,
            100.0 * cut.lowered,
            cut.mean_change,
            cut.referable_change
        );
    }
    text
}

fn samples(report: &Report) -> String {
    if report.samples.is_empty() {
        return "Full-size photographs were not compared with their copies in this run.\n".to_owned();
    }
    let count = report.samples.len();
    let same = report.samples.iter().filter(|pair| pair.full_size.grade == pair.copy.grade).count();
    let mean = report.samples.iter().map(super::report::SamplePair::difference).sum::<f64>() / count as f64;
    let verdict = |holds: bool| if holds { "reached" } else { "**not reached**" };
    let mut text = format!(
        "Bundled photographs at full size beside the small copies that training uses: same grade in {same} of {count} (asked: {:.0};\n\
         {}), largest difference of a probability {mean:.3} on average (asked: at most {DIFFERENCE}; {}).\n\n\
         | photograph | reference | full size | copy | largest difference |\n| --- | --- | --- | --- | --- |\n",
        SAME_GRADE * count as f64,
        verdict(same as f64 >= SAME_GRADE * count as f64),
        verdict(mean <= DIFFERENCE),
    );
    for pair in &report.samples {
        let [reference, full_size, copy] = [pair.reference, pair.full_size.grade, pair.copy.grade].map(Grade::digit);
        let _ = writeln!(text, "| {} | {reference} | {full_size} | {copy} | {:.3} |", pair.file, pair.difference());
    }
    text
}

/// One trial as a line of progress.
pub fn describe_trial(trial: &Trial) -> String {
    let Trial { recipe, criterion, pooled_kappa, referable_auc, iterations, converged } = trial;
    let ended = if *converged { "" } else { ", not converged" };
    format!(
        "{}: mean kappa {criterion:.3}, pooled kappa {pooled_kappa:.3}, AUC {referable_auc:.3} ({iterations} steps{ended})",
        describe(recipe)
    )
}

fn describe(recipe: &Recipe) -> String {
    format!("{}, L2 {}", kind_of(recipe), recipe.penalty)
}

fn kind_of(recipe: &Recipe) -> String {
    let restored = if recipe.restored { "with" } else { "without" };
    let weights = match recipe.weights {
        ClassWeights::None => "unweighted",
        ClassWeights::Balanced => "weighted, priors taken back",
    };
    format!("{restored} restored photographs, {weights}")
}

fn name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Val => "val",
        Split::Test => "test",
        Split::External => "external",
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    format!("{text}.")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"))
}

fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    let interval = interval.map(|Interval { low, high }| format!(" ({low:.3} to {high:.3})")).unwrap_or_default();
    number(value) + &interval
}
