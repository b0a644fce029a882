//! Processes of this program, and what the system says about them.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PART: &str = "MPKG_BENCH_PART";

/// Which part this process plays; none for the one that measures.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Lets this process open as many files as it may, and gives the number.
pub fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // It stays where it is if that is not allowed.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Tells the process that started this one.
pub fn tell(text: &str) {
    println!("{MARK}{text}");
}

const MARK: &str = "> ";

/// A process that plays a part. It ends when this is dropped.
pub struct Part {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    pub fn start(part: &str, settings: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(PART, part)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, lines: BufReader::new(output).lines() }
    }

    pub fn say(&mut self, text: &str) {
        writeln!(self.input, "{text}").unwrap();
    }

    /// The next thing that it tells.
    pub fn hear(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the process goes on").unwrap();
            if let Some(text) = line.strip_prefix(MARK) {
                return text.to_owned();
            }
        }
    }

    fn status(&self, name: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
    }

    /// KiB in memory.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// KiB in memory when it was most.
    pub fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Seconds of processor time, the system's on its behalf included.
    pub fn processor(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        // Fields 14 and 15 of proc(5), in hundredths of a second on every Linux there is.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
