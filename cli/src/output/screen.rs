//! Lines at the bottom of a terminal that change in place.
//!
//! Between drawings the cursor stands at the beginning of the first of them. A terminal whose window becomes
//! narrower wraps what was drawn, and how many rows that makes is its own affair; but the cursor stays with the
//! character that it stands on, so that erasing from there to the end leaves nothing behind, in terminals that
//! wrap as in those that do not.

use std::fmt;
use std::io;

use console::Term;

/// From the cursor to the end of the screen.
const ERASE_BELOW: &str = "\u{1b}[J";
/// From the cursor to the end of the line.
const ERASE_LINE: &str = "\u{1b}[K";

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
    /// Whether something is drawn, at whose beginning the cursor stands.
    drawn: bool,
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
        Self::on(Term::stderr())
    }
}

impl<C: Canvas> Screen<C> {
    fn on(canvas: C) -> Self {
        Self {
            canvas,
            drawn: false,
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
        let mut text = String::from("\r");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text += "\r\n";
            }
            text += line;
            text += ERASE_LINE;
        }
        text += ERASE_BELOW;
        text += "\r";
        if lines.len() > 1 {
            text += &format!("\u{1b}[{}A", lines.len() - 1);
        }
        self.write(&text);
        self.drawn = !lines.is_empty();
    }

    /// Writes a line above them, which are then to be drawn again.
    pub(crate) fn print(&mut self, line: &str) {
        // Whatever the terminal has echoed there goes as well.
        self.write(&format!("\r{ERASE_BELOW}{line}\r\n"));
        self.drawn = false;
    }

    /// Leaves the lines as they stand; what follows goes below them.
    pub(crate) fn leave(&mut self, lines: &[String]) {
        if !self.drawn {
            return;
        }
        let lines = &lines[..lines.len().min(self.rows())];
        let mut text = String::from("\r");
        for line in lines {
            text += line;
            text += ERASE_LINE;
            text += "\r\n";
        }
        text += ERASE_BELOW;
        self.write(&text);
        self.drawn = false;
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) {
        if self.drawn {
            self.write(&format!("\r{ERASE_BELOW}"));
            self.drawn = false;
        }
    }

    fn write(&mut self, text: &str) {
        // A terminal that is gone is noticed elsewhere.
        let _ = self.canvas.write(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows the sequences which are written, and wraps what is drawn when it becomes narrower.
    #[derive(Debug)]
    struct Fake {
        rows: usize,
        columns: usize,
        /// All lines ever, those that have scrolled away too.
        lines: Vec<String>,
        /// The line that the cursor is in, and where.
        at: (usize, usize),
    }

    impl Fake {
        fn new(rows: usize, columns: usize) -> Self {
            Self {
                rows,
                columns,
                lines: vec![String::new()],
                at: (0, 0),
            }
        }

        /// Makes it narrower: each line that does not fit any more becomes several.
        fn narrow(&mut self, columns: usize) {
            self.columns = columns;
            let mut lines = Vec::new();
            let mut at = self.at;
            for (index, line) in self.lines.iter().enumerate() {
                if index == self.at.0 {
                    at = (lines.len() + self.at.1 / columns, self.at.1 % columns);
                }
                let chars: Vec<char> = line.chars().collect();
                lines.extend(
                    chars
                        .chunks(columns)
                        .map(|part| part.iter().collect::<String>()),
                );
                if chars.is_empty() {
                    lines.push(String::new());
                }
            }
            self.lines = lines;
            self.at = at;
        }

        fn obey(&mut self, text: &str) {
            let mut rest = text;
            while let Some(c) = rest.chars().next() {
                if let Some(after) = rest.strip_prefix(ERASE_BELOW) {
                    let (line, column) = self.at;
                    self.lines.truncate(line + 1);
                    self.lines[line].truncate(column);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix(ERASE_LINE) {
                    let (line, column) = self.at;
                    self.lines[line].truncate(column);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix("\u{1b}[") {
                    let (number, after) = after.split_once('A').expect("the cursor goes up");
                    let up: usize = number.parse().expect("a number of lines");
                    assert!(up < self.rows, "what has scrolled away is out of reach");
                    self.at.0 -= up;
                    rest = after;
                } else {
                    match c {
                        '\r' => self.at.1 = 0,
                        '\n' => {
                            self.at.0 += 1;
                            if self.at.0 == self.lines.len() {
                                self.lines.push(String::new());
                            }
                        }
                        c => {
                            assert!(self.at.1 < self.columns, "no line is wider than it may be");
                            let line = &mut self.lines[self.at.0];
                            if self.at.1 < line.len() {
                                line.remove(self.at.1);
                            }
                            line.insert(self.at.1, c);
                            self.at.1 += 1;
                        }
                    }
                    rest = &rest[c.len_utf8()..];
                }
            }
        }

        fn seen(&self) -> Vec<&str> {
            let lines = self.lines.iter().map(|line| line.trim_end());
            let mut lines: Vec<&str> = lines.collect();
            while lines.last().is_some_and(|line| line.is_empty()) {
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
            Ok(())
        }
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn lines_change_in_place_and_others_go_above_them() {
        let mut screen = Screen::on(Fake::new(24, 20));
        screen.draw(&lines(&["first longer", "second"]));
        screen.draw(&lines(&["first", "second", "third"]));
        assert_eq!(screen.canvas.seen(), ["first", "second", "third"]);
        screen.print("news");
        screen.draw(&lines(&["first"]));
        assert_eq!(screen.canvas.seen(), ["news", "first"]);
        screen.clear();
        assert_eq!(screen.canvas.seen(), ["news"]);
    }

    #[test]
    fn a_window_that_becomes_narrower_keeps_nothing() {
        let mut screen = Screen::on(Fake::new(24, 40));
        screen.print("told before");
        screen.draw(&lines(&[
            "one line that is nearly as wide as all",
            "another one",
        ]));
        for columns in [30, 11, 7] {
            screen.canvas.narrow(columns);
            screen.draw(&lines(&["a b", "c"]));
            let seen = screen.canvas.seen();
            assert_eq!(seen[seen.len() - 2..], ["a b", "c"]);
            assert!(
                seen[..seen.len() - 2].concat().ends_with("before"),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn what_is_left_stands_above_what_follows() {
        let mut screen = Screen::on(Fake::new(24, 20));
        screen.leave(&lines(&["not drawn"]));
        assert!(screen.canvas.seen().is_empty());
        screen.draw(&lines(&["one", "two"]));
        // What the terminal writes by itself at Ctrl-C.
        screen.canvas.write("^C").expect("it has room");
        screen.leave(&lines(&["one", "two"]));
        screen.print("stopping");
        assert_eq!(screen.canvas.seen(), ["one", "two", "stopping"]);
    }

    #[test]
    fn no_more_lines_are_drawn_than_can_be_drawn_anew() {
        let mut screen = Screen::on(Fake::new(3, 20));
        for _ in 0..2 {
            screen.draw(&lines(&["1", "2", "3", "4"]));
        }
        assert_eq!(screen.canvas.seen(), ["1", "2"]);
        let mut screen = Screen::on(Fake::new(1, 20));
        screen.draw(&lines(&["1", "2"]));
    }
}
