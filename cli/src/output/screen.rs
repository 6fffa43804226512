//! Lines at the bottom of a terminal that change in place.
//!
//! Between drawings the cursor stands at the beginning of the first of them. A terminal whose window becomes
//! narrower either cuts what was drawn or wraps it, and the cursor stays with the character that it stands on:
//! erasing from there to the end leaves nothing behind. Four things are needed besides:
//!
//! - The window may become narrower after its size was asked for. While lines are drawn the terminal does not wrap:
//!   what is too long is cut, and takes one row as it was meant to.
//! - tmux moves what is on the screen into its history when it is told to erase all of it. The first line is
//!   erased by itself, and then what is below.
//! - A row that was wrapped stays joined with the next one, also when both are written over. After a change of
//!   the size all rows are erased before they are drawn again.
//! - tmux counts the blank rows below as well: each row that wrapping makes moves one at the top into the history,
//!   where nothing can erase it, though there is room at the bottom. There the lines go down again by as many rows as
//!   wrapping has moved them up, so that those of further changes have others above them to move. What is told next
//!   fills the gap.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;

use console::{Term, measure_text_width};

/// From the cursor to the end of the screen.
const ERASE_BELOW: &str = "\u{1b}[J";
/// From the cursor to the end of the line.
const ERASE_LINE: &str = "\u{1b}[K";
/// Keeps the cursor's place, and goes back there.
const SAVE: &str = "\u{1b}7";
const RESTORE: &str = "\u{1b}8";
/// One row down, or none at the end of the screen.
const DOWN: &str = "\u{1b}[B";
/// What does not fit into a row is cut, or goes into the next one.
const CUT: &str = "\u{1b}[?7l";
const WRAP: &str = "\u{1b}[?7h";

/// Where the lines are drawn.
pub(crate) trait Canvas {
    /// Rows and columns.
    fn size(&self) -> (usize, usize);

    /// Writes all of it at once, control sequences included.
    fn write(&mut self, text: &str) -> io::Result<()>;
}

/// The terminal at standard error.
impl Canvas for Term {
    fn size(&self) -> (usize, usize) {
        let (rows, columns) = Self::size(self);
        (rows.into(), columns.into())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }
}

/// The lines, and the terminal that they are drawn on.
pub(crate) struct Screen<C = Term> {
    canvas: C,
    /// Whether the terminal is tmux.
    tmux: bool,
    /// How wide the lines are that are drawn, at whose beginning the cursor stands.
    drawn: Vec<usize>,
    /// Columns of the terminal when they were drawn.
    columns: usize,
    /// Blank rows above them.
    gap: usize,
}

impl<C> fmt::Debug for Screen<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn = &self.drawn;
        f.debug_struct("Screen")
            .field("drawn", drawn)
            .finish_non_exhaustive()
    }
}

impl Default for Screen {
    fn default() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty());
        let tmux = is_tmux(
            var("TMUX").is_some(),
            var("STY").is_some(),
            &var("TERM").unwrap_or_default(),
        );
        Self::on(Term::stderr(), tmux)
    }
}

/// Whether the terminal is tmux, by what the environment says, which of `TERM` alone comes to other machines.
fn is_tmux(tmux: bool, screen: bool, term: &OsStr) -> bool {
    let term = term.as_encoded_bytes();
    tmux || term.starts_with(b"tmux") || (term.starts_with(b"screen") && !screen)
}

impl<C: Canvas> Screen<C> {
    fn on(canvas: C, tmux: bool) -> Self {
        Self {
            canvas,
            tmux,
            drawn: Vec::new(),
            columns: 0,
            gap: 0,
        }
    }

    /// Rows that lines can take: what scrolls away could not be drawn anew, and one row is left to what was told
    /// last.
    pub(crate) fn rows(&self) -> usize {
        self.canvas.size().0.saturating_sub(1).max(1)
    }

    /// Columns that a line can have: a line as wide as the terminal would make some of them begin another.
    pub(crate) fn columns(&self) -> usize {
        self.canvas.size().1.saturating_sub(1)
    }

    /// Draws the lines in place of those that are there. They must fit.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let lines = &lines[..lines.len().min(self.rows())];
        let (rows, columns) = self.canvas.size();
        let mut text = String::from(CUT);
        if columns != self.columns || lines.is_empty() {
            text += &erase();
        }
        if self.tmux && columns < self.columns {
            let more = wrapped(&self.drawn, columns).min(rows.saturating_sub(1));
            text.extend(std::iter::repeat_n('\n', more));
            self.gap += more;
        }
        text += "\r";
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text += "\r\n";
            }
            text += line;
            text += ERASE_LINE;
        }
        if !lines.is_empty() {
            // Past the first column: not all of the screen.
            text += ERASE_BELOW;
        }
        text += "\r";
        if lines.len() > 1 {
            text += &up(lines.len() - 1);
        }
        text += WRAP;
        self.write(&text);
        let width = |line: &String| measure_text_width(line).min(columns);
        self.drawn = lines.iter().map(width).collect();
        self.columns = columns;
    }

    /// Writes a line above them, which are then to be drawn again.
    pub(crate) fn print(&mut self, line: &str) {
        // Whatever the terminal has echoed there goes as well.
        let text = format!("{}{line}\r\n", self.blank());
        self.write(&text);
    }

    /// Leaves the lines as they stand; what follows goes below them.
    pub(crate) fn leave(&mut self, lines: &[String]) {
        if self.drawn.is_empty() {
            return;
        }
        let lines = &lines[..lines.len().min(self.rows())];
        let mut text = self.blank();
        text += CUT;
        for line in lines {
            text += line;
            text += "\r\n";
        }
        text += WRAP;
        self.write(&text);
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let text = self.blank();
            self.write(&text);
        }
    }

    /// Takes the lines and the gap above them away.
    fn blank(&mut self) -> String {
        self.drawn.clear();
        let gap = match std::mem::take(&mut self.gap) {
            0 => String::new(),
            gap => up(gap),
        };
        gap + &erase()
    }

    fn write(&mut self, text: &str) {
        // A terminal that is gone is noticed elsewhere.
        let _ = self.canvas.write(text);
    }
}

/// Erases from the beginning of the line to the end of the screen.
fn erase() -> String {
    format!("\r{ERASE_LINE}{SAVE}{DOWN}\r{ERASE_BELOW}{RESTORE}")
}

fn up(rows: usize) -> String {
    format!("\u{1b}[{rows}A")
}

/// Rows that lines of such widths take beyond one each.
fn wrapped(widths: &[usize], columns: usize) -> usize {
    let rows = |width: &usize| width.div_ceil(columns.max(1)).max(1) - 1;
    widths.iter().map(rows).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal does when its window becomes narrower or wider.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        /// Nothing: what does not fit is cut (xterm).
        Cuts,
        /// Lines are wrapped and joined again; blank rows at the end do not count (VTE, kitty).
        Wraps,
        /// The same, and blank rows count; who erases all of the screen finds it in the history (tmux).
        Tmux,
    }

    /// A terminal that knows the sequences which are written.
    #[derive(Debug)]
    struct Fake {
        kind: Kind,
        rows: usize,
        columns: usize,
        /// All rows, with those that have scrolled away, and whether each goes on in the next.
        lines: Vec<(Vec<char>, bool)>,
        /// The first row that is on the screen.
        top: usize,
        /// The cursor: a row among all, and a column.
        at: (usize, usize),
        saved: (usize, usize),
        wraps: bool,
    }

    impl Fake {
        fn new(kind: Kind, rows: usize, columns: usize) -> Self {
            Self {
                kind,
                rows,
                columns,
                lines: vec![(Vec::new(), false); rows],
                top: 0,
                at: (0, 0),
                saved: (0, 0),
                wraps: true,
            }
        }

        fn resize(&mut self, columns: usize) {
            self.columns = columns;
            if self.kind == Kind::Cuts {
                for (line, _) in &mut self.lines {
                    line.truncate(columns);
                }
                return;
            }
            if self.kind == Kind::Wraps {
                let is_blank = |(line, goes_on): &(Vec<char>, bool)| line.is_empty() && !goes_on;
                while self.lines.len() > self.at.0 + 1 && self.lines.last().is_some_and(is_blank) {
                    self.lines.pop();
                }
            }
            let mut lines = Vec::new();
            let mut at = None;
            let mut whole: Vec<char> = Vec::new();
            let mut cursor = None;
            for (index, (line, goes_on)) in self.lines.iter().enumerate() {
                if index == self.at.0 {
                    cursor = Some(whole.len() + self.at.1);
                }
                whole.extend(line);
                if *goes_on {
                    continue;
                }
                if let Some(cursor) = cursor.take() {
                    at = Some((lines.len() + cursor / columns, cursor % columns));
                }
                let parts = whole.len().div_ceil(columns).max(1);
                for part in 0..parts {
                    let end = ((part + 1) * columns).min(whole.len());
                    lines.push((whole[part * columns..end].to_vec(), part + 1 < parts));
                }
                whole.clear();
            }
            self.lines = lines;
            self.at = at.unwrap_or((0, 0));
            while self.lines.len() < self.rows {
                self.lines.push((Vec::new(), false));
            }
            self.top = self.lines.len() - self.rows;
            if self.at.0 < self.top {
                self.at = (self.top, 0);
            }
        }

        fn feed(&mut self) {
            self.at.0 += 1;
            if self.at.0 == self.top + self.rows {
                self.lines.push((Vec::new(), false));
                self.top += 1;
            }
        }

        fn erase_below(&mut self) {
            let (row, column) = self.at;
            if self.kind == Kind::Tmux && row == self.top && column == 0 {
                let used = self.lines[self.top..]
                    .iter()
                    .rposition(|(line, _)| !line.is_empty());
                let used = used.map_or(0, |last| last + 1);
                self.lines
                    .extend(std::iter::repeat_n((Vec::new(), false), used));
                self.top += used;
                self.at.0 += used;
                return;
            }
            self.lines[row].0.truncate(column);
            for line in &mut self.lines[row + 1..] {
                *line = (Vec::new(), false);
            }
        }

        fn put(&mut self, c: char) {
            if self.at.1 >= self.columns {
                if !self.wraps {
                    self.at.1 = self.columns - 1;
                } else {
                    self.lines[self.at.0].1 = true;
                    self.feed();
                    self.at.1 = 0;
                }
            }
            let line = &mut self.lines[self.at.0].0;
            if line.len() <= self.at.1 {
                line.resize(self.at.1 + 1, ' ');
            }
            line[self.at.1] = c;
            self.at.1 += 1;
        }

        fn obey(&mut self, text: &str) {
            let mut rest = text;
            while let Some(c) = rest.chars().next() {
                let known = [ERASE_BELOW, ERASE_LINE, SAVE, RESTORE, DOWN, CUT, WRAP];
                if let Some(sequence) = known.into_iter().find(|known| rest.starts_with(known)) {
                    match sequence {
                        ERASE_BELOW => self.erase_below(),
                        ERASE_LINE => {
                            let (row, column) = self.at;
                            self.lines[row].0.truncate(column);
                            if column == 0 {
                                self.lines[row].1 = false;
                            }
                        }
                        SAVE => self.saved = (self.at.0 - self.top, self.at.1),
                        RESTORE => self.at = (self.top + self.saved.0, self.saved.1),
                        DOWN => self.at.0 = (self.at.0 + 1).min(self.top + self.rows - 1),
                        sequence => self.wraps = sequence == WRAP,
                    }
                    rest = &rest[sequence.len()..];
                } else if let Some(after) = rest.strip_prefix("\u{1b}[") {
                    let (number, after) = after.split_once('A').expect("the cursor goes up");
                    let up: usize = number.parse().expect("a number of lines");
                    self.at.0 = self.at.0.saturating_sub(up).max(self.top);
                    rest = after;
                } else {
                    match c {
                        '\r' => self.at.1 = 0,
                        '\n' => self.feed(),
                        c => self.put(c),
                    }
                    rest = &rest[c.len_utf8()..];
                }
            }
        }

        /// All there is, what has scrolled away first.
        fn seen(&self) -> Vec<String> {
            let lines = self
                .lines
                .iter()
                .map(|(line, _)| line.iter().collect::<String>());
            let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            lines
        }
    }

    impl Canvas for Fake {
        fn size(&self) -> (usize, usize) {
            (self.rows, self.columns)
        }

        fn write(&mut self, text: &str) -> io::Result<()> {
            self.obey(text);
            assert!(self.wraps, "others write as they are used to");
            Ok(())
        }
    }

    const KINDS: [Kind; 3] = [Kind::Cuts, Kind::Wraps, Kind::Tmux];

    fn screen(kind: Kind, rows: usize, columns: usize) -> Screen<Fake> {
        Screen::on(Fake::new(kind, rows, columns), kind == Kind::Tmux)
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Lines that fill the terminal.
    fn wide(screen: &Screen<Fake>, count: usize) -> Vec<String> {
        let width = screen.columns();
        (0..count)
            .map(|line| format!("{line}{}", "=".repeat(width - 1)))
            .collect()
    }

    #[test]
    fn lines_change_in_place_and_others_go_above_them() {
        for kind in KINDS {
            let mut screen = screen(kind, 24, 20);
            screen.draw(&lines(&["first longer", "second"]));
            screen.draw(&lines(&["first", "second", "third"]));
            assert_eq!(screen.canvas.seen(), ["first", "second", "third"]);
            screen.print("news");
            screen.draw(&lines(&["first"]));
            assert_eq!(screen.canvas.seen(), ["news", "first"]);
            screen.draw(&[]);
            assert_eq!(screen.canvas.seen(), ["news"]);
            screen.draw(&lines(&["first"]));
            screen.clear();
            assert_eq!(screen.canvas.seen(), ["news"]);
        }
    }

    #[test]
    fn a_window_that_changes_its_width_keeps_nothing() {
        const WIDTHS: [usize; 15] = [
            100, 80, 60, 50, 40, 30, 20, 30, 50, 80, 120, 70, 40, 120, 60,
        ];
        for kind in KINDS {
            for (told, drawn) in [(4, 1), (5, 3), (12, 8), (40, 1), (40, 8), (1, 1)] {
                let mut screen = screen(kind, 24, 120);
                for line in 0..told {
                    screen.print(&format!("told {line}"));
                }
                screen.draw(&wide(&screen, drawn));
                for columns in WIDTHS {
                    screen.canvas.resize(columns);
                    screen.draw(&wide(&screen, drawn));
                    let seen = screen.canvas.seen();
                    let left = seen.iter().filter(|line| line.contains('=')).count();
                    assert_eq!(left, drawn, "{kind:?} {columns}: {seen:#?}");
                }
                screen.print("at last");
                let seen = screen.canvas.seen();
                let shown = &seen[screen.canvas.top.min(seen.len())..];
                assert!(!shown.contains(&String::new()), "no gap is left: {seen:#?}");
                assert_eq!(seen.last().map(String::as_str), Some("at last"));
            }
        }
    }

    #[test]
    fn a_window_that_becomes_narrower_while_lines_are_drawn_keeps_nothing() {
        for kind in KINDS {
            let mut screen = screen(kind, 24, 100);
            screen.print("told before");
            screen.print("and more");
            screen.draw(&wide(&screen, 2));
            let late = wide(&screen, 2);
            screen.canvas.resize(60);
            // What was laid out for the window as it was.
            screen.draw(&late);
            screen.draw(&lines(&["a", "b"]));
            let seen = screen.canvas.seen();
            assert_eq!(
                seen.iter().filter(|line| line.contains('=')).count(),
                0,
                "{seen:?}"
            );
            assert_eq!(seen[seen.len() - 2..], ["a", "b"]);
        }
    }

    #[test]
    fn the_environment_tells_tmux_from_others() {
        let is = |tmux, screen, term: &str| is_tmux(tmux, screen, OsStr::new(term));
        assert!(is(true, false, "xterm"));
        assert!(is(false, false, "tmux-256color"));
        assert!(is(false, false, "screen-256color"));
        assert!(!is(false, true, "screen"));
        assert!(!is(false, false, "xterm-256color"));
    }

    #[test]
    fn what_is_left_stands_above_what_follows() {
        for kind in KINDS {
            let mut screen = screen(kind, 24, 20);
            screen.leave(&lines(&["not drawn"]));
            assert!(screen.canvas.seen().is_empty());
            screen.draw(&lines(&["one", "two"]));
            // What the terminal writes by itself at Ctrl-C.
            screen.canvas.write("^C").expect("it has room");
            screen.leave(&lines(&["one", "two"]));
            screen.print("stopping");
            assert_eq!(screen.canvas.seen(), ["one", "two", "stopping"]);
        }
    }

    #[test]
    fn no_more_lines_are_drawn_than_can_be_drawn_anew() {
        for kind in KINDS {
            let mut narrow = screen(kind, 3, 20);
            for _ in 0..2 {
                narrow.draw(&lines(&["1", "2", "3", "4"]));
            }
            assert_eq!(narrow.canvas.seen(), ["1", "2"]);
            screen(kind, 1, 20).draw(&lines(&["1", "2"]));
        }
    }
}
