//! A [`Report`] comes in; its tables as Markdown go out. Nothing is measured here and no number is written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::goals::Goal;
use super::maps::{CaseRow, MapRun};
use super::report::Report;
use super::speed::{Pass, SpeedRow};
use super::statistics::{Spread, ratios};
use super::subject::Weights;
use crate::attribution::Baseline;
use crate::grading::Output;
use crate::nn::Network;
use crate::nn::clock::Spent;
use crate::nn::cpu::peak::Peak;

/// Where there is no figure.
const NONE: &str = "-";

/// The section of one machine.
pub fn tables(report: &Report) -> String {
    let mut text = heading(report);
    if !report.speed.is_empty() {
        text += &speed(report);
        text += &spent(report);
    }
    if !report.maps.is_empty() {
        text += &fifty_steps(report);
        text += &closeness(report);
    }
    text += &grading(report);
    text += &choices(report);
    text
}

fn heading(report: &Report) -> String {
    let machine = &report.machine;
    let model = machine.model.as_deref().map_or_else(String::new, |model| format!(" ({model})"));
    let mut text = format!("## {}{model}, {}, {} threads", machine.processor, machine.device, machine.threads);
    if let Some(bytes) = machine.memory {
        write!(text, ", {:.0} GiB", gibibytes(bytes)).ok();
    }
    text += &part(report);
    let kind = if report.quick { "Quick run" } else { "Full run" };
    let other = report.other.as_deref().unwrap_or("nothing");
    let revision = report.revision.as_deref().map_or_else(String::new, |revision| format!(" ({revision})"));
    let took = if report.seconds < 100.0 {
        format!("{:.0} seconds", report.seconds)
    } else {
        format!("{:.0} minutes", report.seconds / 60.0)
    };
    write!(text, "\n\n{kind} of DiaRet {}{revision} beside {other}, {took}", report.version).ok();
    if let Some(within) = report.within {
        write!(text, " in sessions, the last of at most {within:.0} minute{}", plural(within as usize)).ok();
    }
    if let Some(load) = machine.load_before {
        let busy = if load > 0.25 * machine.threads as f64 { " (others used it: under load)" } else { "" };
        write!(text, "; load of the machine before it began {load:.1}{busy}").ok();
    }
    text += ". Peak measured by chains of multiply-adds in registers: ";
    let peaks = report.peaks.iter().map(|peak| {
        format!(
            "{:.0} GFLOP/s with {} thread{} ({}, {})",
            peak.gflops,
            peak.threads,
            plural(peak.threads),
            peak.instructions,
            peak.precision.name()
        )
    });
    let peaks: Vec<String> = peaks.collect();
    text += if peaks.is_empty() { "none, networks ran on a card" } else { "" };
    text + &peaks.join(", ") + ".\n"
}

/// What a report holds, where that is not everything: so that reports of the same machine are told apart.
fn part(report: &Report) -> String {
    let [speed, maps] = [!report.speed.is_empty(), !report.maps.is_empty()];
    let kinds = [(speed, "passes"), (maps, "maps"), (report.grading.is_some(), "grading")];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect();
    let of = report.maps.iter().map(|row| row.case.network).chain(report.speed.iter().map(|row| row.network));
    let networks: BTreeSet<Network> = of.chain(report.grading.iter().flat_map(|row| row.networks.clone())).collect();
    if kinds.is_empty() || kinds.len() == 3 && networks.len() == Network::ALL.len() {
        return String::new();
    }
    let networks: Vec<&str> = networks.into_iter().map(Network::label).collect();
    format!(": {} of {}", kinds.join(" and "), networks.join(", "))
}

fn speed(report: &Report) -> String {
    let mut text = "\n### One pass\n\nMilliseconds an image, the middle of all runs; direct products counted, so that a convolution that \
        takes fewer may pass 100 %. Ratios are of pairs: least / middle / greatest. Scaling: how much \
        sooner it is done than by one thread. Memory: resident bytes at most, every network loaded.\n\n\
        | network | pass | precision | at once | threads | DiaRet | GFLOP/s | of the peak | scaling | other | its setting | ratio | memory | other's memory |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in &report.speed {
        let an_image = |seconds: &[f64]| Spread::of(seconds.iter().copied()).map(|s| s.median / row.rows as f64);
        let ours = an_image(&row.ours);
        let rate = ours.map(|seconds| 2.0 * row.products as f64 / seconds / 1e9);
        let of_row = |peak: &&Peak| peak.threads == row.threads && peak.precision == row.precision;
        let peak = report.peaks.iter().find(of_row).map(|peak| peak.gflops);
        let share = rate.zip(peak).filter(|&(_, peak)| peak > 0.0).map(|(rate, peak)| 100.0 * rate / peak);
        let cells = [
            network(row.network, row.weights),
            pass(row.pass).to_owned(),
            row.precision.name().to_owned(),
            row.rows.to_string(),
            row.threads.to_string(),
            cell(ours, milliseconds),
            cell(rate, |rate| format!("{rate:.0}")),
            cell(share, |share| format!("{share:.0} %")),
            cell(scaling(report, row), |scaling| format!("{scaling:.2}")),
            cell(an_image(&row.other), milliseconds),
            row.setting.clone().unwrap_or_else(|| NONE.to_owned()),
            cell(ratio_of(row), spread),
            cell(row.peak_bytes, memory),
            cell(row.other_peak_bytes, memory),
        ];
        line(&mut text, &cells);
    }
    text
}

/// The middle time of one thread, in those of the row's; none for one thread, and where the same was not done by one.
fn scaling(report: &Report, row: &SpeedRow) -> Option<f64> {
    let middle = |row: &SpeedRow| Spread::of(row.ours.iter().copied()).map(|spread| spread.median);
    let what = |row: &SpeedRow| (row.network, row.pass, row.rows, row.precision);
    let alone = report.speed.iter().find(|one| one.threads == 1 && what(one) == what(row));
    Some(middle(alone.filter(|_| row.threads > 1)?)? / middle(row)?)
}

fn pass(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::Gradient => "input gradient",
        Pass::Secants => "secants",
        Pass::Training => "training step",
    }
}

fn spent(report: &Report) -> String {
    let known: Vec<(&SpeedRow, Spent)> = report.speed.iter().filter_map(|row| Some((row, row.spent?))).collect();
    if known.is_empty() {
        return String::new();
    }
    let mut text = "\n### What the time of a pass goes to\n\nShares of the time of DiaRet's threads, all runs together. Convolutions: with biases, \
        ReLUs and sums, which their kernels do on the way. Batch norm: with live statistics, with the sums and ReLUs behind it. The rest: \
        preprocessing, copies, weights packed anew.\n\n\
        | network | pass | precision | at once | threads | convolutions | pools | batch norm | the rest |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (row, spent) in known {
        let share = |seconds: f64| format!("{:.1} %", 100.0 * seconds / spent.whole);
        let cells = [
            network(row.network, row.weights),
            pass(row.pass).to_owned(),
            row.precision.name().to_owned(),
            row.rows.to_string(),
            row.threads.to_string(),
            share(spent.convolutions),
            share(spent.pools),
            share(spent.norms),
            share(spent.rest()),
        ];
        line(&mut text, &cells);
    }
    text
}

fn ratio_of(row: &SpeedRow) -> Option<Spread> {
    Spread::of(ratios(&row.ours, &row.other))
}

/// Maps of one network and question.
type Groups<'a> = BTreeMap<(Network, &'static str), Vec<&'a CaseRow>>;

fn groups(report: &Report) -> Groups<'_> {
    let mut groups = Groups::new();
    for row in &report.maps {
        groups.entry((row.case.network, question(row.case.baseline, row.case.output))).or_default().push(row);
    }
    groups
}

fn fifty_steps(report: &Report) -> String {
    let mut text = "\n### Integrated Gradients of 50 steps\n\nThe same rule on both sides (Gauss-Legendre, Captum's default), the same \
        tensor, baseline and output; one pair a photograph. Distance: relative L2 from the reference. Peak memory: resident bytes at \
        most, every network loaded.\n\n\
        | network | question | photographs | DiaRet s | other s | ratio | distance | completeness error | apart | memory | other's memory | other in bf16: s, distance |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for ((name, question), rows) in groups(report) {
        let pairs = rows.iter().filter_map(|row| Some(row.other.as_ref()?.seconds / row.ours.seconds));
        let theirs = |figure: &dyn Fn(&MapRun) -> Option<f64>| {
            Spread::of(rows.iter().filter_map(|row| figure(row.other.as_ref()?)))
        };
        let ours =
            |figure: &dyn Fn(&MapRun) -> Option<f64>| Spread::of(rows.iter().filter_map(|row| figure(&row.ours)));
        let memory = |run: &MapRun| run.peak_bytes.map(gibibytes);
        let bf16 = |figure: &dyn Fn(&MapRun) -> Option<f64>| {
            Spread::of(rows.iter().filter_map(|row| figure(row.other_bf16.as_ref()?))).map(|s| s.median)
        };
        let bf16 = bf16(&|run| Some(run.seconds)).zip(bf16(&|run| run.distance));
        let cells = [
            network(name, rows[0].case.weights),
            question.to_owned(),
            rows.len().to_string(),
            cell(ours(&|run| Some(run.seconds)), spread),
            cell(theirs(&|run| Some(run.seconds)), spread),
            cell(Spread::of(pairs), spread),
            cell(ours(&|run| run.distance), percent),
            cell(ours(&|run| rows[0].ours.distance.and(Some(run.completeness_error))), percent),
            cell(Spread::of(rows.iter().filter_map(|row| row.apart)), percent),
            cell(ours(&memory), |memory| format!("{:.2} GiB", memory.max)),
            cell(theirs(&memory), |memory| format!("{:.2} GiB", memory.max)),
            cell(bf16, |(seconds, distance)| format!("{seconds:.1}, {:.0} %", 100.0 * distance)),
        ];
        line(&mut text, &cells);
    }
    text
}

fn closeness(report: &Report) -> String {
    let mut text = format!(
        "\n### Time until a map is close enough\n\nRelative L2 from a reference of {} midpoints, summed in f64. DiaRet refines and \
        stops at the first map that is close enough; the other program, which cannot know when to stop, is given the fewest steps that \
        are close enough{}. As if known: DiaRet given the fewest intervals that are close enough, too. Photographs: those that reached it, \
        DiaRet's and the other's, of all.\n\n\
        | network | question | closeness | photographs | DiaRet gradients | DiaRet s | completeness error | other steps | other s | completeness error | ratio | as if known | s | ratio |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        report.reference_steps,
        if report.quick { " (a quick run does not look for them)" } else { "" }
    );
    for ((name, question), rows) in groups(report) {
        for index in 0..rows.iter().map(|row| row.goals.len()).max().unwrap_or(0) {
            let goals: Vec<_> = rows.iter().filter_map(|row| row.goals.get(index)).collect();
            let ours: Vec<&MapRun> = goals.iter().filter_map(|goal| goal.ours.as_ref()).collect();
            let other: Vec<&MapRun> = goals.iter().filter_map(|goal| goal.other.as_ref()).collect();
            let known: Vec<&MapRun> = goals.iter().filter_map(|goal| goal.as_if_known.as_ref()).collect();
            let pairs = |ours: fn(&Goal) -> Option<&MapRun>| {
                Spread::of(goals.iter().filter_map(|goal| Some(goal.other.as_ref()?.seconds / ours(goal)?.seconds)))
            };
            let limits = Spread::of(goals.iter().map(|goal| goal.limit));
            let closeness = match limits {
                Some(limits) if goals[0].of_default => format!("as 50 steps: {}", percent(limits)),
                limits => cell(limits, |limits| format!("{} %", 100.0 * limits.median)),
            };
            let of = |runs: &[&MapRun], figure: fn(&MapRun) -> f64| Spread::of(runs.iter().map(|run| figure(run)));
            let cells = [
                network(name, rows[0].case.weights),
                question.to_owned(),
                closeness,
                format!("{}, {} of {}", ours.len(), other.len(), goals.len()),
                cell(of(&ours, |run| run.gradients as f64), whole),
                cell(of(&ours, |run| run.seconds), spread),
                cell(of(&ours, |run| run.completeness_error), percent),
                cell(of(&other, |run| run.gradients as f64), whole),
                cell(of(&other, |run| run.seconds), spread),
                cell(of(&other, |run| run.completeness_error), percent),
                cell(pairs(|goal| goal.ours.as_ref()), spread),
                cell(of(&known, |run| run.gradients as f64), whole),
                cell(of(&known, |run| run.seconds), spread),
                cell(pairs(|goal| goal.as_if_known.as_ref()), spread),
            ];
            line(&mut text, &cells);
        }
    }
    text
}

fn grading(report: &Report) -> String {
    let Some(row) = &report.grading else { return String::new() };
    let an_image = |seconds: &[f64]| Spread::of(seconds.iter().map(|seconds| 1e3 * seconds / row.files as f64));
    let alone = row.decoding.iter().zip(&row.grading_inputs).map(|(decoding, networks)| decoding + networks);
    let against_sum = Spread::of(row.grading.iter().zip(alone).map(|(grading, sum)| grading / sum));
    let networks: Vec<&str> = row.networks.iter().map(|network| network.label()).collect();
    let mut text = format!(
        "\n### Grading from files\n\n{} JPEG files of {:.1} megapixels through {}; milliseconds an image, least / middle / greatest \
        of {} runs.\n\n| | |\n| --- | --- |\n",
        row.files,
        row.megapixels,
        networks.join(" and "),
        row.grading.len()
    );
    for (name, value) in [
        ("DiaRet, files to grades", cell(an_image(&row.grading), spread)),
        ("decoding alone", cell(an_image(&row.decoding), spread)),
        ("networks alone", cell(an_image(&row.grading_inputs), spread)),
        ("files to grades / (decoding + networks)", cell(against_sum, spread)),
        ("other, files to logits", cell(an_image(&row.other), spread)),
        ("its setting", row.setting.clone().filter(|_| !row.other.is_empty()).unwrap_or_else(|| NONE.to_owned())),
        ("ratio, other / DiaRet", cell(Spread::of(ratios(&row.grading, &row.other)), spread)),
        ("peak memory, DiaRet", cell(row.peak_bytes, memory)),
        ("peak memory, other", cell(row.other_peak_bytes, memory)),
    ] {
        line(&mut text, &[name.to_owned(), value]);
    }
    text
}

fn choices(report: &Report) -> String {
    let mut text = String::new();
    if !report.winners.is_empty() {
        text += "\n### How the other program's settings were chosen\n\n| task | fastest | seconds of all that were tried |\n| --- | --- | --- |\n";
        for (task, choice) in &report.winners {
            let tried: Vec<String> =
                choice.tried.iter().map(|(name, seconds)| format!("{name}: {seconds:.3}")).collect();
            let tried = if tried.is_empty() {
                "won the last full run on such a processor".to_owned()
            } else {
                tried.join("; ")
            };
            line(&mut text, &[task.clone(), choice.setting.clone(), tried]);
        }
        if report.quick && report.winners.values().any(|choice| !choice.tried.is_empty()) {
            text += "\nWhere no full run on such a machine has found the best, a quick one tries what is not compiled alone.\n";
        }
    }
    if !report.left_out.is_empty() {
        text += "\n### Not measured\n\n";
        for what in gathered(&report.left_out) {
            writeln!(text, "- {what}").ok();
        }
    }
    text
}

/// What was left out, that of several photographs in one line.
fn gathered(left_out: &[String]) -> Vec<String> {
    let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
    for what in left_out {
        let of_photograph = what.split_once(", ").filter(|(name, _)| Path::new(name).extension().is_some());
        let (photograph, rest) = of_photograph.unwrap_or(("", what));
        match lines.iter_mut().find(|(other, _)| *other == rest) {
            Some((_, photographs)) => photographs.push(photograph),
            None => lines.push((rest, vec![photograph])),
        }
    }
    let line = |(rest, photographs): (&str, Vec<&str>)| match photographs.as_slice() {
        ["", ..] => rest.to_owned(),
        [photograph] => format!("{photograph}, {rest}"),
        several => format!("{} photographs, {rest}", several.len()),
    };
    lines.into_iter().map(line).collect()
}

fn network(network: Network, weights: Weights) -> String {
    let formula = if weights == Weights::Formula { " (formula weights)" } else { "" };
    format!("{}{formula}", network.label())
}

fn question(baseline: Baseline, output: Output) -> &'static str {
    match (baseline, output) {
        (Baseline::Black, Output::Logit(_)) => "black, logit",
        (Baseline::Blur, Output::LogOddsReferable) => "blur, log-odds",
        _ => "another",
    }
}

fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).ok();
}

fn cell<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

/// Three figures, each with about three digits.
fn spread(of: Spread) -> String {
    of.words(usize::from(of.max < 10.0) + usize::from(of.max < 100.0))
}

fn whole(of: Spread) -> String {
    of.words(0)
}

fn percent(of: Spread) -> String {
    format!("{} %", spread(of.times(100.0)))
}

fn milliseconds(seconds: f64) -> String {
    let digits = usize::from(seconds < 0.1);
    format!("{:.digits$}", 1e3 * seconds)
}

fn memory(bytes: u64) -> String {
    format!("{:.2} GiB", gibibytes(bytes))
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests;
