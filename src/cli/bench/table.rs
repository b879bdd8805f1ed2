//! Tables: for people, for spreadsheets, for documents.

/// A table. Columns are numbers but for those that are said to be words.
pub struct Table {
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows, of columns that are words, then numbers, then words.
    pub fn new(first: &[&'static str], numbers: &[&'static str], last: &[&'static str]) -> Table {
        let of = |names: &[&'static str], words: bool| names.iter().map(|&name| (name, words)).collect::<Vec<_>>();
        Table { columns: [of(first, true), of(numbers, false), of(last, true)].concat(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// Columns under their names, numbers on the right.
    pub fn text(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().map(|row| row[i].chars().count());
            cells.max().unwrap_or(0).max(self.columns[i].0.chars().count())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[&str]| {
            let cells = cells.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, words)), &width)| {
                if *words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        self.lines().map(|cells| line(&cells)).collect()
    }

    /// Comma-separated values (RFC 4180).
    pub fn csv(&self) -> String {
        let cell = |text: &&str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => (*text).to_owned(),
        };
        self.lines().map(|cells| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n").collect()
    }

    /// A table of Markdown.
    pub fn markdown(&self) -> String {
        let row = |cells: &[&str]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<&str> = self.columns.iter().map(|(_, words)| if *words { "---" } else { "---:" }).collect();
        let mut lines = self.lines();
        let head = lines.next().map(|cells| row(&cells)).unwrap_or_default();
        head + &row(&rule) + &lines.map(|cells| row(&cells)).collect::<String>()
    }

    /// The names of the columns, then the rows.
    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        let names = self.columns.iter().map(|&(name, _)| name).collect();
        [names].into_iter().chain(self.rows.iter().map(|row| row.iter().map(String::as_str).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_three_forms() {
        let mut table = Table::new(&["kind"], &["us"], &["note"]);
        table.push(vec!["a|b".into(), "1.5".into(), "x, \"y\"".into()]);
        table.push(vec!["longer".into(), "22.25".into(), String::new()]);
        assert_eq!(table.text(), "kind       us  note\na|b       1.5  x, \"y\"\nlonger  22.25\n");
        assert_eq!(table.csv(), "kind,us,note\na|b,1.5,\"x, \"\"y\"\"\"\nlonger,22.25,\n");
        let markdown =
            "| kind | us | note |\n| --- | ---: | --- |\n| a\\|b | 1.5 | x, \"y\" |\n| longer | 22.25 |  |\n";
        assert_eq!(table.markdown(), markdown);
    }
}
