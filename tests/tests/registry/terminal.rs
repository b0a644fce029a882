//! What is asked at a terminal.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::people::{APP, Person, Server};

/// What is asked for without showing what is typed.
const SECRET: &str = "Token";

/// Waits until a terminal hides what is typed: what was typed before is thrown away.
fn until_hidden(script: u32) {
    let terminal = || -> Option<PathBuf> {
        let children = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).ok()?;
        fs::read_link(format!("/proc/{}/fd/0", children.split_whitespace().next()?)).ok()
    };
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let settings =
            terminal().map(|it| Command::new("stty").arg("-F").arg(it).arg("-a").output().unwrap());
        if settings.is_some_and(|it| String::from_utf8_lossy(&it.stdout).contains("-echo ")) {
            return;
        }
        assert!(Instant::now() < until, "it never hides what is typed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What somebody sees who sits at a terminal, and the exit status: whenever the first of a pair comes up, the second is
/// typed. None where there is no `script`, which makes the terminal.
fn at_a_terminal(ann: &Person, arguments: &[&str], dialogue: &[(&str, &str)]) -> Option<(String, i32)> {
    let command = ann.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qefc", &line.join(" "), "/dev/null"]).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = match script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: a terminal is made by `script`, and there is none");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    // Open until the end: otherwise nobody sits there any more.
    let mut keys = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let (mut seen, mut from, mut byte) = (Vec::new(), 0, [0]);
    let mut dialogue = dialogue.iter().peekable();
    while screen.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
        if let Some((prompt, typed)) = dialogue.peek()
            && seen[from..].ends_with(prompt.as_bytes())
        {
            if *prompt == SECRET {
                until_hidden(child.id());
            }
            keys.write_all(typed.as_bytes()).unwrap();
            from = seen.len();
            dialogue.next();
        }
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(dialogue.next().is_none(), "{seen}");
    Some((seen, child.wait().unwrap().code().unwrap()))
}

#[test]
fn at_a_terminal_it_asks_and_takes_only_the_right_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (ann, token) = (Person::new(), server.first_token.clone().unwrap());

    // A token is asked for, never shown, and kept if it counts.
    let login = ["login", &server.address];
    let Some((seen, exit)) = at_a_terminal(&ann, &login, &[(SECRET, "correct horse battery\r")]) else {
        return;
    };
    assert_eq!((exit, seen.contains("horse")), (1, false), "{seen}");
    assert_eq!(ann.refused(&["status", "--registry", &server.address], 4), "MPKG-C51");
    let (seen, exit) = at_a_terminal(&ann, &login, &[(SECRET, &format!("{token}\r"))]).unwrap();
    assert!(exit == 0 && seen.contains("first admin") && !seen.contains(&token), "{exit} {seen}");

    // What goes is confirmed by typing what it is about.
    let kill = ann.ok(&["kill", APP, "--reason", "spam"])["id"].as_str().unwrap().to_owned();
    let lift = ["lift", &kill, "--reason", "mended"];
    let prompt = format!("type {APP}");
    for wrong in ["yes\r", "\r", "com.example.other\r"] {
        let (seen, exit) = at_a_terminal(&ann, &lift, &[(&prompt, wrong)]).unwrap();
        assert!(exit == 2 && seen.contains("MPKG-C55"), "{exit} {seen}");
        assert_eq!(ann.ok(&["status"])["kills"][0]["id"], kill.as_str());
    }
    // A program that has a terminal is not asked.
    let (seen, exit) = at_a_terminal(&ann, &[&lift[..], &["--format", "json"]].concat(), &[]).unwrap();
    assert!(exit == 2 && seen.contains("MPKG-C55") && !seen.contains("type "), "{exit} {seen}");
    let (seen, exit) = at_a_terminal(&ann, &lift, &[(&prompt, &format!("{APP}\r"))]).unwrap();
    assert_eq!(exit, 0, "{seen}");
    assert_eq!(ann.ok(&["status"])["kills"], json!([]));

    // What stops asks nothing.
    let (seen, exit) = at_a_terminal(&ann, &["kill", APP, "--reason", "spam"], &[]).unwrap();
    assert!(exit == 0 && !seen.contains("type "), "{exit} {seen}");
}
