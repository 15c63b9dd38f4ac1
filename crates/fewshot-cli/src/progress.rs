//! Progress on standard error: a bar where somebody watches, plain lines elsewhere.
//!
//! Does not know: what is fetched, or why.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fewshot_data::fetch::Event;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{bytes, note, watched};

/// How often a plain line is written while bytes come.
const EVERY: Duration = Duration::from_secs(10);

/// Shows what happens to one file after another. Clones show on the same screen.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<Screen>>);

struct Screen {
    bar: Option<ProgressBar>,
    /// What the bar, or the last plain line, is about.
    about: String,
    /// The file and the mirror that were asked last; asking again is told as a retry.
    asked: String,
    last: Instant,
}

impl Progress {
    pub fn new() -> Self {
        let bar = watched().then(ProgressBar::no_length);
        Self(Arc::new(Mutex::new(Screen { bar, about: String::new(), asked: String::new(), last: Instant::now() })))
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Ok(screen) = self.0.lock()
            && let Some(bar) = &screen.bar
        {
            bar.finish_and_clear();
        }
    }

    pub fn event(&self, event: &Event<'_>) {
        // A panic elsewhere while the screen was held leaves nothing to show.
        let Ok(mut screen) = self.0.lock() else { return };
        match event {
            Event::Hashing { file, done, total } => screen.count("verifying", file, *done, Some(*total)),
            Event::Receiving { file, done, total } => screen.count("downloading", file, *done, *total),
            Event::Unpacking { file, done } => screen.count("unpacking", file, *done, None),
            Event::Asking { file, url, done } => screen.asking(file, url, *done),
            Event::Waiting { file } => screen.once(format!("{file}: waiting for another process that is fetching it")),
            Event::Skipped { file, path, why } => screen.say(format!("{file}: passing over {}: {why}", path.display())),
            Event::Retrying { file, why, wait, .. } => screen.say(format!("{file}: {why}; again in {wait:?}")),
            Event::GaveUp { file, url, why } => screen.say(format!("{file}: {url}: {why}")),
            _ => (),
        }
    }
}

impl Screen {
    /// How far something is.
    fn count(&mut self, what: &str, file: &str, done: u64, total: Option<u64>) {
        let about = format!("{file}: {what}");
        let new = about != self.about;
        self.about = about;
        if let Some(bar) = &self.bar {
            if new {
                bar.set_style(style(total.is_some()));
                bar.reset();
                bar.set_prefix(self.about.clone());
            }
            total.into_iter().for_each(|total| bar.set_length(total));
            bar.set_position(done);
        } else if self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            let of = total.map_or(String::new(), |total| format!(" of {}", bytes(total)));
            note(format!("{} {}{of}", self.about, bytes(done)));
        }
    }

    fn asking(&mut self, file: &str, url: &str, done: u64) {
        let asked = format!("{file} {url}");
        if asked == self.asked {
            return;
        }
        self.asked = asked;
        self.say(match done {
            0 => format!("{file}: from {url}"),
            _ => format!("{file}: going on after {} from {url}", bytes(done)),
        });
    }

    /// A line that stays.
    fn say(&mut self, line: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(&line)),
            None => note(&line),
        }
        self.about = line;
        self.last = Instant::now();
    }

    /// A line that is not said twice in a row.
    fn once(&mut self, line: String) {
        if line != self.about {
            self.say(line);
        }
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = match bounded {
        true => "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} (left: {eta})",
        false => "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec} ({elapsed})",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
