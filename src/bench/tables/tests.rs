use std::collections::BTreeMap;

use super::*;
use crate::bench::goals::Goal;
use crate::bench::machine::Machine;
use crate::bench::maps::Case;
use crate::bench::other::Choice;
use crate::bench::throughput::GradingRow;
use crate::grading::{Grade, Target};
use crate::nn::Precision;
use crate::nn::cpu::peak::Peak;

fn machine() -> Machine {
    Machine {
        processor: "AMD EPYC 7713".to_owned(),
        model: Some("family 25, model 1".to_owned()),
        device: "CPU · AVX2".to_owned(),
        threads: 2,
        memory: Some(24 << 30),
        load_before: Some(7.5),
    }
}

fn map(gradients: usize, seconds: f64, distance: f64) -> MapRun {
    let peak_bytes = Some(1 << 30);
    MapRun { gradients, seconds, distance: Some(distance), completeness_error: 0.25, peak_bytes }
}

fn case(photograph: &str, ours: f64, other: f64) -> CaseRow {
    let of_default = Goal {
        of_default: true,
        limit: 0.025,
        ours: Some(map(33, ours / 2.0, 0.024)),
        as_if_known: Some(map(16, ours / 5.0, 0.023)),
        other: Some(map(50, other, 0.025)),
    };
    let finer = Some(map(257, 5.0 * ours, 0.004));
    let fine = Goal { of_default: false, limit: 0.005, ours: finer, as_if_known: None, other: None };
    CaseRow {
        case: Case {
            photograph: photograph.to_owned(),
            input_sha256: String::new(),
            network: Network::ResNet50,
            weights: Weights::Shipped,
            weights_hash: String::new(),
            baseline: Baseline::Black,
            output: Output::Logit(Target::Grade(Grade::Moderate)),
            reference_steps: 2048,
        },
        ours: map(50, ours, 0.025),
        other: Some(map(50, other, 0.025)),
        setting: Some("eager, channels-last, 10 at once".to_owned()),
        other_bf16: None,
        apart: Some(0.002),
        goals: vec![of_default, fine],
        stamp: None,
    }
}

fn report() -> Report {
    let speed = SpeedRow {
        network: Network::InceptionResNetV2,
        weights: Weights::Formula,
        pass: Pass::Gradient,
        rows: 8,
        threads: 2,
        precision: Precision::F32,
        products: 25_000_000_000,
        ours: vec![4.0, 8.0, 4.0],
        other: vec![8.0, 24.0, 4.0],
        setting: Some("eager, contiguous".to_owned()),
        spent: Some(Spent { convolutions: 28.0, pools: 2.0, norms: 0.0, whole: 32.0 }),
        peak_bytes: Some(3 << 29),
        other_peak_bytes: None,
        stamp: None,
    };
    let tried = BTreeMap::from([("eager, contiguous".to_owned(), 8.0), ("eager, channels-last".to_owned(), 9.0)]);
    Report {
        version: "0.1.0".to_owned(),
        revision: Some("abc of 2026-11-27".to_owned()),
        machine: machine(),
        other: Some("PyTorch 2".to_owned()),
        quick: false,
        within: Some(150.0),
        runs: 3,
        reference_steps: 2048,
        peaks: vec![Peak {
            threads: 2,
            precision: Precision::F32,
            instructions: "AVX2 + FMA".to_owned(),
            gflops: 200.0,
        }],
        speed: vec![
            SpeedRow { precision: Precision::Bf16, ours: Vec::new(), spent: None, ..speed.clone() },
            SpeedRow { threads: 1, ours: vec![7.2], other: Vec::new(), spent: None, ..speed.clone() },
            speed,
        ],
        maps: vec![case("a.jpg", 4.0, 8.0), case("b.jpg", 5.0, 20.0)],
        grading: Some(GradingRow {
            files: 10,
            megapixels: 12.2,
            networks: vec![Network::ResNet50, Network::InceptionV3],
            grading: vec![3.0],
            decoding: vec![1.0],
            grading_inputs: vec![2.0],
            other: vec![6.0],
            setting: Some("eager, channels-last".to_owned()),
            peak_bytes: Some(1 << 29),
            other_peak_bytes: None,
            stamp: None,
        }),
        winners: BTreeMap::from([(
            "grade".to_owned(),
            Choice { setting: "eager, contiguous".to_owned(), tried, ..Choice::default() },
        )]),
        left_out: vec!["compiled: no compiler".to_owned()],
        seconds: 600.0,
    }
}

/// The cells of the row of a table in which all of `with` stand.
fn row(text: &str, with: &[&str]) -> Vec<String> {
    let found: Vec<&str> = text.lines().filter(|line| with.iter().all(|word| line.contains(word))).collect();
    assert_eq!(found.len(), 1, "{with:?} in {text}");
    found[0].trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn reports_of_a_machine_say_what_they_hold() {
    let heading = |report: &Report| tables(report).lines().next().unwrap().to_owned();
    let all = Report { maps: Network::ALL.map(of).to_vec(), ..report() };
    assert_eq!(heading(&all), "## AMD EPYC 7713 (family 25, model 1), CPU · AVX2, 2 threads, 24 GiB");
    let maps = Report { speed: Vec::new(), grading: None, ..report() };
    assert_eq!(
        heading(&maps),
        "## AMD EPYC 7713 (family 25, model 1), CPU · AVX2, 2 threads, 24 GiB: maps of ResNet-50"
    );
    let two = Report { speed: Vec::new(), ..report() };
    assert!(heading(&two).ends_with(": maps and grading of ResNet-50, InceptionV3"), "{}", heading(&two));
}

fn of(network: Network) -> CaseRow {
    let row = case("a.jpg", 4.0, 8.0);
    CaseRow { case: Case { network, ..row.case.clone() }, ..row }
}

#[test]
fn how_long_it_took_has_a_unit() {
    let text = |report: Report| tables(&report);
    assert!(text(report()).contains(", 10 minutes in sessions, the last of at most 150 minutes;"));
    let short = Report { seconds: 36.0, within: Some(1.0), ..report() };
    assert!(text(short).contains(", 36 seconds in sessions, the last of at most 1 minute;"));
}

#[test]
fn every_table_is_well_formed() {
    let text = tables(&report());
    let mut columns = 0;
    for line in text.lines() {
        let here = line.matches('|').count();
        assert!(here == 0 || columns == 0 || here == columns, "{line}");
        columns = here;
    }
}

#[test]
fn a_pass_has_its_rate_its_share_of_the_peak_and_the_ratios_of_pairs() {
    let text = tables(&report());
    let row = |threads: &str| row(&text, &["input gradient", "| f32 |", &format!("| 8 | {threads} | "), "GiB"]);
    assert_eq!(row("1")[8], "-");
    let row = row("2");
    // 8 images in 4 s, 50 GFLOP each; pairs 2, 3 and 1.
    assert_eq!(row[0], "InceptionResNetV2 (formula weights)");
    assert_eq!(row[3..10], ["8", "2", "500", "100", "50 %", "1.80", "1000"]);
    assert_eq!(row[10..], ["eager, contiguous", "1.00 / 2.00 / 3.00", "1.50 GiB", "-"]);
}

#[test]
fn the_time_of_a_pass_is_shared_among_kinds_of_steps() {
    let row = row(&tables(&report()), &["input gradient", "87.5 %"]);
    assert_eq!(row[2..], ["f32", "8", "2", "87.5 %", "6.2 %", "0.0 %", "6.2 %"]);
}

#[test]
fn what_only_the_other_computes_is_shown_and_compared_with_nothing() {
    let row = row(&tables(&report()), &["input gradient", "bf16"]);
    assert_eq!(row[5..12], ["-", "-", "-", "-", "1000", "eager, contiguous", "-"]);
}

#[test]
fn photographs_are_gathered_by_network_and_question() {
    let text = tables(&report());
    let fifty = row(&text, &["black, logit", "| 2 |"]);
    assert_eq!(
        fifty[2..7],
        ["2", "4.00 / 4.50 / 5.00", "8.0 / 14.0 / 20.0", "2.00 / 3.00 / 4.00", "2.50 / 2.50 / 2.50 %"]
    );
    let default = row(&text, &["as 50 steps: 2.50 / 2.50 / 2.50 %"]);
    assert_eq!(default[3..6], ["2, 2 of 2", "33 / 33 / 33", "2.00 / 2.25 / 2.50"]);
    assert_eq!(default[10..], ["4.00 / 6.00 / 8.00", "16 / 16 / 16", "0.80 / 0.90 / 1.00", "10.0 / 15.0 / 20.0"]);
    let fine = row(&text, &["| 0.5 % |"]);
    assert_eq!((fine[3].as_str(), fine[10].as_str()), ("2, 0 of 2", "-"), "what nobody reached has no ratio");
}

#[test]
fn grading_stands_against_the_sum_of_its_parts() {
    let text = tables(&report());
    assert_eq!(row(&text, &["files to grades /"])[1], "1.00 / 1.00 / 1.00");
    assert_eq!(row(&text, &["ratio, other"])[1], "2.00 / 2.00 / 2.00");
    assert_eq!(row(&text, &["peak memory, DiaRet"])[1], "0.50 GiB");
}

#[test]
fn the_reader_learns_what_ran_where_and_what_did_not() {
    let text = tables(&report());
    for words in [
        "AMD EPYC 7713 (family 25, model 1), CPU · AVX2, 2 threads, 24 GiB",
        "Full run of DiaRet 0.1.0 (abc of 2026-11-27) beside PyTorch 2, 10 minutes in sessions, the last of at most 150",
        "7.5 (others used it: under load)",
        "200 GFLOP/s with 2 threads (AVX2 + FMA, f32)",
        "eager, channels-last: 9.000; eager, contiguous: 8.000",
        "- compiled: no compiler",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    let quick = Report { quick: true, winners: BTreeMap::from([("grade".to_owned(), remembered())]), ..report() };
    let text = tables(&quick);
    assert!(text.contains("Quick run") && text.contains("won the last full run on such a processor"), "{text}");
}

fn remembered() -> Choice {
    Choice { setting: "eager".to_owned(), ..Choice::default() }
}

#[test]
fn winners_are_those_of_a_full_run_on_such_a_machine() {
    let full = report();
    assert!(full.knows_winners_of(&Machine { load_before: None, ..machine() }, Some("PyTorch 2")));
    assert!(!full.knows_winners_of(&Machine { model: None, ..machine() }, Some("PyTorch 2")));
    assert!(!full.knows_winners_of(&Machine { threads: 4, ..machine() }, Some("PyTorch 2")));
    assert!(!full.knows_winners_of(&machine(), Some("PyTorch 3")));
    assert!(!Report { quick: true, ..full }.knows_winners_of(&machine(), Some("PyTorch 2")));
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let written = serde_json::to_string(&report()).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report());
}

#[test]
fn what_was_left_out_of_several_photographs_is_one_line() {
    let left_out = [
        "a.jpg, ResNet-50 from Black: no time",
        "training of InceptionResNetV2: only in full",
        "b.jpg, ResNet-50 from Black: no time",
        "b.jpg, InceptionV3 from Blur: no time",
        "InceptionV3, Forward: not compared",
        "ResNet-50, Forward: not compared",
    ]
    .map(str::to_owned);
    let lines = [
        "2 photographs, ResNet-50 from Black: no time",
        "training of InceptionResNetV2: only in full",
        "b.jpg, InceptionV3 from Blur: no time",
        "InceptionV3, Forward: not compared",
        "ResNet-50, Forward: not compared",
    ];
    assert_eq!(gathered(&left_out), lines);
}
