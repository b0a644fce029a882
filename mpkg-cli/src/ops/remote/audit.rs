//! Following the audit log's chain here: a registry that was taken over says that its log is whole.

use mpkg_package::Hash;
use mpkg_registry_client::wire::{AuditEntry, AuditReport, Paging};
use serde::Serialize;

use super::Remote;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::rules;

/// What following it came to.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    /// Entries that were read.
    pub(crate) entries: u64,
    /// The newest one's hash.
    pub(crate) head: String,
    /// Always none, since what does not follow is an error: as the registry says it.
    broken_at: Option<u64>,
    /// The entry whose hash was noted.
    pub(crate) noted: Option<u64>,
}

fn broken(message: String, at: u64) -> Failure {
    Failure::new(&rules::AUDIT_BROKEN, Exit::Refused, message)
        .hint("Keep the registry's folder as it is, and compare with the newest backup.")
        .data("broken_at", at)
}

/// The chain, entry by entry.
struct Chain {
    entries: u64,
    head: String,
    wanted: Option<String>,
    noted: Option<u64>,
}

impl Chain {
    fn new(wanted: Option<Hash>) -> Self {
        let wanted = wanted.map(|hash| hash.to_string());
        let noted = wanted.as_ref().filter(|hash| *hash == AuditEntry::START).map(|_| 0);
        Self { entries: 0, head: AuditEntry::START.to_owned(), wanted, noted }
    }

    /// Goes on to the next entry, and compares with what the registry says about its own log.
    fn follow(&mut self, entry: AuditEntry, report: &AuditReport) -> Outcome {
        let seq = self.entries + 1;
        if entry.seq != seq || entry.chained(&self.head).to_string() != entry.hash {
            let message = format!(
                "entry {seq} of the audit log does not follow from the one before it, though the registry says that all do"
            );
            return Err(broken(message, seq));
        }
        if seq == report.entries && entry.hash != report.head {
            let message = format!(
                "entry {seq} has the hash {}, and the registry says that its newest has {}",
                entry.hash, report.head
            );
            return Err(broken(message, seq));
        }
        if self.wanted.as_ref() == Some(&entry.hash) {
            self.noted = Some(seq);
        }
        (self.entries, self.head) = (seq, entry.hash);
        Ok(())
    }

    fn end(self, report: &AuditReport) -> Outcome<Verified> {
        let Self { entries, head, wanted, noted } = self;
        if entries < report.entries {
            let message =
                format!("the registry says that there are {} entries, and gives {entries}", report.entries);
            return Err(broken(message, entries + 1));
        }
        if let (Some(wanted), None) = (wanted, noted) {
            let message = format!(
                "none of the {entries} entries has the hash {wanted}: the log's end was cut off, or all of it was written \
                 anew"
            );
            return Err(broken(message, entries + 1));
        }
        Ok(Verified { entries, head, broken_at: None, noted })
    }
}

/// Has the registry follow its chain, then does so here; `head` is the hash of some entry, noted earlier.
pub(crate) fn verify(remote: &Remote, head: Option<Hash>) -> Outcome<Verified> {
    let report = remote.ask(remote.client.verify_audit())?;
    if let Some(seq) = report.broken_at {
        let all = report.entries;
        let message = format!("entry {seq} of {all} in the audit log does not follow from the one before it");
        return Err(broken(message, seq));
    }
    let mut chain = Chain::new(head);
    let mut paging = Paging { limit: Some(200), ..Paging::default() };
    loop {
        let page = remote.ask(remote.client.audit(&paging))?;
        page.items.into_iter().try_for_each(|entry| chain.follow(entry, &report))?;
        match page.next {
            // A registry that gives the same part for ever does not keep anybody for ever.
            Some(next) if Some(&next) != paging.after.as_ref() => paging.after = Some(next),
            _ => return chain.end(&report),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(length: u64) -> (Vec<AuditEntry>, AuditReport) {
        let mut head = AuditEntry::START.to_owned();
        let entries = (1..=length).map(|seq| {
            let mut entry = AuditEntry {
                seq,
                at: mpkg_package::Time::from_unix(1_800_000_000).unwrap(),
                owner: "ann".into(),
                token: "k3q7xw2a".into(),
                action: "kill".into(),
                subject: format!("app-{seq}"),
                detail: "{}".into(),
                hash: String::new(),
            };
            entry.hash = entry.chained(&head).to_string();
            head.clone_from(&entry.hash);
            entry
        });
        let entries: Vec<_> = entries.collect();
        (entries, AuditReport { entries: length, head, broken_at: None })
    }

    fn judged(entries: Vec<AuditEntry>, report: &AuditReport, head: Option<&str>) -> Outcome<Verified> {
        let mut chain = Chain::new(head.map(|it| Hash::from_hex(it).unwrap()));
        entries.into_iter().try_for_each(|entry| chain.follow(entry, report))?;
        chain.end(report)
    }

    #[test]
    fn a_log_that_was_meddled_with_is_found_out_whatever_the_registry_says() {
        let (entries, report) = log(4);
        let whole = judged(entries.clone(), &report, Some(&entries[2].hash)).unwrap();
        assert_eq!((whole.entries, &whole.head, whole.noted), (4, &entries[3].hash, Some(3)));
        assert_eq!(judged(entries.clone(), &report, Some(AuditEntry::START)).unwrap().noted, Some(0));

        let mut changed = entries.clone();
        changed[1].subject = "another".into();
        let mut removed = entries.clone();
        removed.remove(1);
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        for bad in [changed, removed, swapped] {
            assert!(judged(bad, &report, None).is_err());
        }
        // Written anew: each entry follows, and the hash that was noted is nowhere.
        let (anew, other) = log(5);
        assert!(judged(anew.clone(), &other, Some(&"ab".repeat(32))).is_err());
        // Cut off, or another list than the registry speaks of.
        assert!(judged(entries[..3].to_vec(), &report, None).is_err());
        assert!(judged(anew, &AuditReport { head: report.head.clone(), ..other }, None).is_err());
        // An entry that came in between is no harm.
        assert_eq!(judged(log(5).0, &report, Some(&report.head)).unwrap().noted, Some(4));
    }
}
