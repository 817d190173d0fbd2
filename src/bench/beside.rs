//! Another program that can do the same work: requests go to it as lines of JSON on its stdin, answers come back as lines on
//! its stdout. Nothing here knows what it is; `benches/captum` is one, and its README describes the lines.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::BenchError;
use crate::nn::Precision;

/// Which program it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Name and versions, as they stand in a table.
    pub name: String,
}

/// What is to be timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Logits of `rows` images.
    Forward {
        /// A file with `input`, `[rows, side, side, 3]`.
        input: PathBuf,
        /// How many at once.
        rows: usize,
    },
    /// The gradient of a class's logit by each of `rows` images.
    Gradient {
        /// A file with `input`.
        input: PathBuf,
        /// How many at once.
        rows: usize,
        /// The class.
        class: usize,
    },
    /// A training step: batch norm with the statistics of the batch, the mean cross entropy of `rows` images (image i is of
    /// class i modulo the number of classes), and its gradient by all parameters.
    Training {
        /// A file with `input`.
        input: PathBuf,
        /// How many at once.
        rows: usize,
    },
    /// Integrated Gradients.
    Map {
        /// A file with `input` and `baseline`, `[side, side, 3]`.
        ends: PathBuf,
        /// The class whose logit is explained; without one, the log-odds of referable.
        class: Option<usize>,
        /// Steps of the Gauss-Legendre rule.
        steps: usize,
        /// Where to write the map, as `map`.
        map: PathBuf,
    },
    /// Grades of photographs, from their files.
    Grade {
        /// The photographs.
        files: Vec<PathBuf>,
        /// The networks that grade.
        topologies: Vec<PathBuf>,
    },
}

/// Work on a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What.
    #[serde(flatten)]
    pub work: Work,
    /// The network: a description that `subject` writes.
    pub topology: PathBuf,
    /// Threads to use.
    pub threads: usize,
    /// What it is computed in.
    pub precision: Precision,
    /// `cpu`, `cuda` or `metal`.
    pub device: String,
}

/// A line to the other program.
#[derive(Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Request<'a> {
    /// Who are you? An [`About`].
    About,
    /// In which ways can you do this? Names, for [`Request::Run`]; only those soon tried if `quick`.
    Settings { quick: bool, task: &'a Task },
    /// Do it, once, made ready and warm before the clock starts: an [`Answer`].
    Run { task: &'a Task, setting: &'a str },
}

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// By the clock.
    pub seconds: f64,
    /// The most bytes resident during the run.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// Logits of the first row.
    #[serde(default)]
    pub logits: Vec<f64>,
    /// Euclidean norm of the first row's gradient; of a training step, of the gradient by all parameters.
    #[serde(default)]
    pub norm: Option<f64>,
}

/// A line from the other program.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reply<A> {
    Failure { error: String },
    Answer(A),
}

/// The other program, running. It ends when this is dropped.
pub struct Beside {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    about: About,
}

impl Beside {
    /// Starts the program and asks who it is.
    pub fn start(command: &[String]) -> Result<Self, BenchError> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| BenchError::Beside("no program was named".to_owned()))?;
        let failed = |error: std::io::Error| BenchError::Beside(format!("{program} does not start: {error}"));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::Beside(format!("{program} has no stdin or stdout")));
        };
        let about = About { name: program.clone() };
        let mut beside = Self { child, requests: Some(requests), replies: BufReader::new(replies), about };
        beside.about = beside.ask(&Request::About)?;
        Ok(beside)
    }

    /// Which program it is.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// In which ways it can do a task.
    pub fn settings(&mut self, task: &Task, quick: bool) -> Result<Vec<String>, BenchError> {
        self.ask(&Request::Settings { quick, task })
    }

    /// Does it once.
    pub fn run(&mut self, task: &Task, setting: &str) -> Result<Answer, BenchError> {
        let answer: Answer = self.ask(&Request::Run { task, setting })?;
        if answer.seconds.is_finite() && answer.seconds > 0.0 {
            Ok(answer)
        } else {
            Err(self.failure(&format!("says that it took {} s", answer.seconds)))
        }
    }

    fn ask<A: DeserializeOwned>(&mut self, request: &Request) -> Result<A, BenchError> {
        let line = serde_json::to_string(request).map_err(|error| self.failure(&error.to_string()))?;
        let sent = self.requests.as_mut().map_or(Ok(()), |pipe| writeln!(pipe, "{line}").and_then(|()| pipe.flush()));
        sent.map_err(|error| self.failure(&format!("takes no requests ({error})")))?;
        let mut reply = String::new();
        match self.replies.read_line(&mut reply) {
            Ok(0) => Err(self.failure("ended")),
            Err(error) => Err(self.failure(&format!("cannot be understood ({error})"))),
            Ok(_) => match serde_json::from_str(&reply) {
                Ok(Reply::Answer(answer)) => Ok(answer),
                Ok(Reply::Failure { error }) => Err(self.failure(&error)),
                Err(error) => Err(self.failure(&format!("answers {:?} ({error})", reply.trim_end()))),
            },
        }
    }

    fn failure(&self, what: &str) -> BenchError {
        BenchError::Beside(format!("{}: {what}", self.about.name))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // The end of its stdin tells it to end.
        self.requests.take();
        self.child.wait().ok();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// A shell that answers each line by the script.
    fn shell(answers: &str) -> Result<Beside, BenchError> {
        let script = format!("n=0; while read -r line; do n=$((n + 1)); case \"$n $line\" in {answers} esac; done");
        Beside::start(&["sh".to_owned(), "-c".to_owned(), script])
    }

    fn task() -> Task {
        Task {
            work: Work::Forward { input: "input.safetensors".into(), rows: 8 },
            topology: "resnet50.json".into(),
            threads: 2,
            precision: Precision::F32,
            device: "cpu".to_owned(),
        }
    }

    const HELLO: &str = r#""1 "*) echo '{"name": "Shell 1.0"}';;"#;

    #[test]
    fn a_request_gets_its_answer_and_the_setting_goes_with_it() {
        let mut beside = shell(&format!(
            r#"{HELLO} *'"ask":"settings","quick":true,"task":{{"kind":"forward"'*) echo '["one way", "another"]';;
            *'"threads":2'*'"setting":"another"'*) echo '{{"seconds": 0.25, "logits": [1, 2.5], "peak_bytes": 7}}';;"#
        ))
        .unwrap();
        assert_eq!(beside.about().name, "Shell 1.0");
        assert_eq!(beside.settings(&task(), true).unwrap(), ["one way", "another"]);
        let answer = beside.run(&task(), "another").unwrap();
        assert_eq!(answer, Answer { seconds: 0.25, peak_bytes: Some(7), logits: vec![1.0, 2.5], norm: None });
    }

    #[test]
    fn what_it_cannot_do_is_an_error_in_its_own_words_and_not_the_end() {
        let mut beside =
            shell(&format!(r#"{HELLO} "2 "*) echo '{{"error": "no compiler"}}';; *) echo '{{"seconds": 2}}';;"#))
                .unwrap();
        let error = beside.run(&task(), "compiled").unwrap_err().to_string();
        assert!(error.contains("Shell 1.0: no compiler"), "{error}");
        assert!(beside.run(&task(), "eager").is_ok(), "the next request is answered");
    }

    #[test]
    fn nonsense_silence_and_no_time_at_all_are_errors() {
        for (answer, word) in [("echo hello", "hello"), ("exit 0", "ended"), (r#"echo '{"seconds": 0}'"#, "0 s")] {
            let error = shell(&format!("{HELLO} *) {answer};;")).unwrap().run(&task(), "any").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(Beside::start(&["no such program".to_owned()]).is_err());
        assert!(Beside::start(&[]).is_err());
    }
}
