//! What becomes of a command some of whose torrents fail.
//!
//! A torrent that fails takes none of the others with it, neither before it was begun (a file that is
//! no torrent, data that is not there) nor later (a file that is deleted or cut while it is seeded).
//! The rule, for every command that takes on several:
//!
//! - What is wrong with one torrent is told at once, and the others go on. What is wrong with the command
//!   line, with the client or with standard output ends the command.
//! - The command ends when every torrent is through: it has reached its aim, or it has failed.
//! - If any has failed, the command ends with a code other than 0: that of their failures if they agree, 1
//!   if not. A command that is interrupted before the others were through ends with the code for that.
//! - If there is only one torrent, its failure is the command's, told once.

use crate::exit::{Exit, Failure};
use crate::output::{Event, Output};

/// So many failed torrents are named when the command ends.
const NAMED: usize = 5;

/// The torrents that failed, and why.
#[derive(Debug)]
pub(crate) struct Losses {
    torrents: usize,
    lost: Vec<(String, Failure)>,
}

impl Losses {
    /// None yet, of a command with so many torrents.
    pub(crate) fn new(torrents: usize) -> Self {
        Self {
            torrents,
            lost: Vec::new(),
        }
    }

    /// Something failed that concerns this torrent alone. Told at once, unless the command has no other.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        failure: Failure,
        output: &mut Output,
    ) -> Result<(), Failure> {
        // Nobody can be told of it any more.
        if failure.is_silent() {
            return Err(failure);
        }
        if self.torrents > 1 {
            output.tell(&Event::from_loss(&failure))?;
        }
        self.lost.push((name.into(), failure));
        Ok(())
    }

    /// How the command ends that did everything else.
    pub(crate) fn verdict(mut self) -> Result<(), Failure> {
        if self.torrents <= 1 {
            return self.lost.pop().map_or(Ok(()), |(_, failure)| Err(failure));
        }
        let Some((_, first)) = self.lost.first() else {
            return Ok(());
        };
        let code = first.exit();
        let agreed = self.lost.iter().all(|(_, failure)| failure.exit() == code);
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.lost {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let count = names.len();
        let more = count.saturating_sub(NAMED);
        names.truncate(NAMED);
        let mut message = format!("{count} of {} torrents failed: ", self.torrents);
        message += &names.join(", ");
        if more > 0 {
            message += &format!(" and {more} more");
        }
        let failure = Failure::with_exit(if agreed { code } else { Exit::Failure }, message);
        Err(failure.advise(match count < self.torrents {
            true => "why is told above; the others did what was asked of them",
            false => "why is told above",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(torrents: usize, lost: &[(&str, Exit)]) -> Result<(), Failure> {
        let mut losses = Losses::new(torrents);
        let mut output = Output::new(false);
        for (name, exit) in lost {
            let failure = Failure::with_exit(*exit, format!("{name} is bad"));
            losses.add(*name, failure, &mut output)?;
        }
        losses.verdict()
    }

    #[test]
    fn nothing_lost_is_no_failure() {
        assert!(verdict(1, &[]).is_ok());
        assert!(verdict(3, &[]).is_ok());
    }

    #[test]
    fn the_failure_of_the_only_torrent_is_that_of_the_command() {
        let failure = verdict(1, &[("a", Exit::Incomplete)]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert_eq!(failure.message(), "a is bad");
    }

    #[test]
    fn the_code_is_that_of_all_failures_or_the_general_one() {
        let same = [("a", Exit::Incomplete), ("b", Exit::Incomplete)];
        let failure = verdict(3, &same).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert_eq!(failure.message(), "2 of 3 torrents failed: a, b");
        let mixed = [("a", Exit::Incomplete), ("b", Exit::Failure)];
        assert_eq!(verdict(2, &mixed).unwrap_err().exit(), Exit::Failure);
    }

    #[test]
    fn many_names_are_cut_short_and_none_is_told_twice() {
        let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        let mut lost: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), Exit::Failure))
            .collect();
        lost.push(("0", Exit::Failure));
        let failure = verdict(20, &lost).unwrap_err();
        assert_eq!(
            failure.message(),
            "9 of 20 torrents failed: 0, 1, 2, 3, 4 and 4 more"
        );
    }
}
