//! The other program at its best: of the ways in which it can do a task the fastest is found once, named, and used from
//! then on. What it cannot do is written down and the bench goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::BenchError;
use super::beside::{Answer, Beside, Task, Work};
use super::kept::{Kept, Stamp};

/// A setting is timed this often before it is judged, unless that takes longer than [`ENOUGH`].
const TRIES: usize = 3;
/// Seconds after which one more try says little.
const ENOUGH: f64 = 2.0;
/// Steps of the maps that settings are judged by: which is fastest shows before all steps are taken.
const STEPS: usize = 25;

/// The other program's fastest way to do a kind of task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its name.
    pub setting: String,
    /// Seconds of every setting that was tried, by name; empty where an earlier run on such a processor had found it.
    pub tried: BTreeMap<String, f64>,
    /// Settings that failed, and why.
    #[serde(default)]
    pub failures: Vec<String>,
    /// What it was measured under; without one it is measured again.
    #[serde(default)]
    pub stamp: Option<Stamp>,
}

/// Winners by task, as [`key`] names it.
pub type Winners = BTreeMap<String, Choice>;

/// The other program, if there is one.
pub struct Other {
    beside: Option<Beside>,
    quick: bool,
    remembered: Winners,
    /// Where winners are kept, and what they depend on beside the task.
    kept: (Kept, serde_json::Value),
    winners: Winners,
    /// Tasks for which no setting works.
    hopeless: BTreeSet<String>,
    left_out: Vec<String>,
}

impl Other {
    /// `remembered`: what won in an earlier full run on such a processor; it is believed if `quick`. `kept`: where a run that was
    /// broken off left its winners, and what they depend on.
    pub fn new(beside: Option<Beside>, quick: bool, remembered: Winners, kept: (Kept, serde_json::Value)) -> Self {
        let (winners, hopeless, left_out) = (Winners::new(), BTreeSet::new(), Vec::new());
        Self { beside, quick, remembered, kept, winners, hopeless, left_out }
    }

    /// Does a task once, in the best way; `None` where there is no program or it cannot.
    pub fn run(&mut self, task: &Task) -> Option<Answer> {
        let setting = self.setting(task)?;
        match self.beside.as_mut()?.run(task, &setting) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.leave_out(error.to_string());
                None
            }
        }
    }

    /// The best way to do tasks like this one; `None` where there is none.
    pub fn setting(&mut self, task: &Task) -> Option<String> {
        let Some(beside) = &mut self.beside else {
            self.leave_out("no other program was given: nothing is compared".to_owned());
            return None;
        };
        let key = key(task);
        let known = if self.quick { self.remembered.get(&key) } else { None };
        if let Some(known) = known {
            let choice = Choice { setting: known.setting.clone(), ..Choice::default() };
            self.winners.entry(key.clone()).or_insert(choice);
        } else if !self.winners.contains_key(&key) && !self.hopeless.contains(&key) {
            let (kept, depends) = &self.kept;
            let of = ("winner", depends, &key);
            let begun = Instant::now();
            let make = || {
                choose(beside, task, self.quick)
                    .and_then(|choice| kept.keep(&of, begun, |stamp| Choice { stamp, ..choice }))
            };
            match kept.find(&of).map_or_else(make, Ok) {
                Ok(choice) => {
                    self.left_out.extend(choice.failures.iter().map(|failure| format!("{key}, {failure}")));
                    self.winners.insert(key.clone(), choice);
                }
                Err(reason) => {
                    self.left_out.push(format!("{key}: {reason}"));
                    self.hopeless.insert(key.clone());
                }
            }
        }
        self.winners.get(&key).map(|choice| choice.setting.clone())
    }

    /// Notes what was not measured, once.
    pub fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// The winners, and what was not measured.
    pub fn into_parts(self) -> (Winners, Vec<String>) {
        (self.winners, self.left_out)
    }
}

/// Tries all settings.
fn choose(beside: &mut Beside, task: &Task, quick: bool) -> Result<Choice, BenchError> {
    let (mut tried, mut failures) = (BTreeMap::new(), Vec::new());
    let mut task = task.clone();
    if let Work::Map { steps, .. } = &mut task.work {
        *steps = STEPS;
    }
    for setting in beside.settings(&task, quick)? {
        match best_of(beside, &task, &setting) {
            Ok(seconds) => {
                tried.insert(setting, seconds);
            }
            Err(error) => failures.push(format!("{setting}: {error}")),
        }
    }
    let best = tried.iter().min_by(|one, two| one.1.total_cmp(two.1)).map(|(name, _)| name.clone());
    let setting = best.ok_or_else(|| BenchError::Beside(format!("it can do it in no way: {}", failures.join("; "))))?;
    Ok(Choice { setting, tried, failures, stamp: None })
}

fn best_of(beside: &mut Beside, task: &Task, setting: &str) -> Result<f64, BenchError> {
    let (mut best, mut spent) = (f64::INFINITY, 0.0);
    for _ in 0..TRIES {
        let seconds = beside.run(task, setting)?.seconds;
        best = best.min(seconds);
        spent += seconds;
        if spent > ENOUGH {
            break;
        }
    }
    Ok(best)
}

/// What a winner is kept under: all that may decide which setting is fastest.
fn key(task: &Task) -> String {
    let network = task.topology.file_stem().unwrap_or_default().to_string_lossy();
    let work = match &task.work {
        Work::Forward { rows, .. } => format!("{network} forward x{rows}"),
        Work::Gradient { rows, .. } => format!("{network} gradient x{rows}"),
        Work::Training { rows, .. } => format!("{network} training x{rows}"),
        Work::Map { .. } => format!("{network} map"),
        Work::Grade { .. } => "grade".to_owned(),
    };
    format!("{work}, {} threads, {}, {}", task.threads, task.precision.name(), task.device)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::nn::Precision;

    /// A program whose settings take 3 (4 while they are judged), 1 and 2 seconds, the second of which fails when `broken`.
    fn program(broken: bool) -> Beside {
        let second = if broken { r#"{"error": "no compiler"}"# } else { r#"{"seconds": 1}"# };
        let script = format!(
            r#"while read -r line; do case "$line" in
            *'"ask":"about"'*) echo '{{"name": "Shell"}}';;
            *'"ask":"settings"'*) echo '["a", "b", "c"]';;
            *'"steps":25'*'"setting":"a"'*) echo '{{"seconds": 4}}';;
            *'"setting":"a"'*) echo '{{"seconds": 3}}';;
            *'"setting":"b"'*) echo '{second}';;
            *) echo '{{"seconds": 2}}';; esac; done"#
        );
        Beside::start(&["sh".to_owned(), "-c".to_owned(), script]).unwrap()
    }

    fn task(steps: usize) -> Task {
        let (ends, map) = ("ends".into(), "map".into());
        Task {
            work: Work::Map { ends, class: None, steps, map },
            topology: "folder/resnet50.json".into(),
            threads: 2,
            precision: Precision::F32,
            device: "cpu".to_owned(),
        }
    }

    fn nothing_kept() -> (Kept, serde_json::Value) {
        (Kept::new(None, &[], None), serde_json::Value::Null)
    }

    #[test]
    fn a_run_that_was_broken_off_does_not_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || (Kept::new(Some(folder.path().to_owned()), &[], None), "this machine".into());
        let mut first = Other::new(Some(program(false)), false, Winners::new(), kept());
        assert_eq!(first.setting(&task(50)).as_deref(), Some("b"));
        // The second setting no longer works: whoever tried would not choose it.
        let mut again = Other::new(Some(program(true)), false, Winners::new(), kept());
        assert_eq!(again.setting(&task(50)).as_deref(), Some("b"));
        assert_eq!(again.into_parts(), first.into_parts());
    }

    const KEY: &str = "resnet50 map, 2 threads, f32, cpu";

    #[test]
    fn the_fastest_way_is_taken_and_named() {
        let mut other = Other::new(Some(program(false)), true, Winners::new(), nothing_kept());
        assert!((other.run(&task(50)).unwrap().seconds - 1.0).abs() < 1e-9);
        assert_eq!(other.setting(&task(100)).as_deref(), Some("b"), "other steps are the same kind of task");
        let (winners, left_out) = other.into_parts();
        assert_eq!(winners[KEY].setting, "b");
        let tried: Vec<_> = winners[KEY].tried.iter().map(|(name, seconds)| format!("{name} {seconds}")).collect();
        assert_eq!(tried, ["a 4", "b 1", "c 2"], "judged by maps of fewer steps");
        assert!(left_out.is_empty());
    }

    #[test]
    fn what_fails_is_named_and_the_next_best_is_taken() {
        let mut other = Other::new(Some(program(true)), false, Winners::new(), nothing_kept());
        assert!((other.run(&task(50)).unwrap().seconds - 2.0).abs() < 1e-9);
        let (_, left_out) = other.into_parts();
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].contains("b: ") && left_out[0].contains("no compiler"), "{left_out:?}");
    }

    #[test]
    fn an_earlier_winner_is_believed_by_a_quick_run_alone() {
        let earlier = Choice { setting: "a".to_owned(), ..Choice::default() };
        let remembered = Winners::from([(KEY.to_owned(), earlier)]);
        for (quick, seconds) in [(true, 3.0), (false, 1.0)] {
            let mut other = Other::new(Some(program(false)), quick, remembered.clone(), nothing_kept());
            assert!((other.run(&task(50)).unwrap().seconds - seconds).abs() < 1e-9, "quick: {quick}");
        }
    }

    #[test]
    fn without_a_program_nothing_is_compared_and_that_is_said_once() {
        let mut other = Other::new(None, true, Winners::new(), nothing_kept());
        assert!(other.run(&task(50)).is_none() && other.run(&task(25)).is_none());
        assert_eq!(other.into_parts().1.len(), 1);
    }
}
