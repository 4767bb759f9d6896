//! What one contestant did with a topic's events: decided from the times of its rows and from samples
//! that were taken meanwhile.

/// One moment of a turn.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Seconds since 1970, as in the rows.
    pub at: f64,
    /// Seconds of processor time: the contestant's, the database server's, daprd's, the broker's.
    pub used: [Option<f64>; 4],
    /// Events that it has published so far, in other turns, too.
    pub published: f64,
}

/// What a turn gave.
#[derive(Debug, Clone)]
pub struct Round {
    /// Events per second.
    pub rate: f64,
    /// Microseconds of processor time for each event, of the four.
    pub used: [Option<f64>; 4],
    /// Events for each callback: below one, they came again.
    pub in_callback: f64,
}

/// The middle of a turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub from: f64,
    pub to: f64,
    pub events: f64,
}

/// What is left out at the beginning, where connections are made, and at the end, where bulks are no
/// longer full.
const BEGINNING: f64 = 0.15;
const END: f64 = 0.1;

impl Window {
    /// Of rows, by their sorted times.
    pub fn of_rows(times: &[f64]) -> Option<Self> {
        let last = times.len().checked_sub(1)? as f64;
        let index = |part: f64| times.get((last * part) as usize).copied();
        let (first, last) = (last * BEGINNING, last * (1.0 - END));
        let (from, to) = (index(BEGINNING)?, index(1.0 - END)?);
        (to > from).then_some(Self { from, to, events: last.floor() - first.floor() })
    }

    /// Of what was published, all of it.
    pub fn of_published(samples: &[Sample], count: f64) -> Option<Self> {
        let before = samples.first()?.published;
        let points: Vec<_> =
            samples.iter().map(|sample| (sample.published - before, sample.at)).collect();
        if points.last()?.0 < count {
            return None;
        }
        let from = between(&points, count * BEGINNING)?;
        let to = between(&points, count * (1.0 - END))?;
        let events = count * (1.0 - END - BEGINNING);
        (to > from).then_some(Self { from, to, events })
    }

    pub fn rate(self) -> f64 {
        self.events / (self.to - self.from)
    }

    /// Microseconds of processor time for each event.
    pub fn used(self, samples: &[Sample]) -> [Option<f64>; 4] {
        [0, 1, 2, 3].map(|who| {
            let used = |sample: &Sample| Some((sample.at, *sample.used.get(who)?.as_ref()?));
            let points: Vec<_> = samples.iter().filter_map(used).collect();
            let used = between(&points, self.to)? - between(&points, self.from)?;
            Some(used * 1e6 / self.events)
        })
    }
}

/// On the line through points whose first values go up.
fn between(points: &[(f64, f64)], wanted: f64) -> Option<f64> {
    let after = points.iter().position(|(x, _)| *x >= wanted)?;
    let (x, y) = *points.get(after)?;
    let Some((before_x, before_y)) = after.checked_sub(1).and_then(|at| points.get(at).copied())
    else {
        return Some(y);
    };
    Some(before_y + (y - before_y) * (wanted - before_x) / (x - before_x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, used: f64, published: f64) -> Sample {
        Sample { at, used: [Some(used), None, Some(0.0), Some(2.0 * used)], published }
    }

    #[test]
    fn the_middle_of_a_turn_is_what_counts() {
        // A slow start, a hundred a second, and a straggler.
        let times: Vec<_> = (0..=100)
            .map(|event| match event {
                0 => 0.0,
                100 => 99.0,
                event => 10.0 + f64::from(event) / 100.0,
            })
            .collect();
        let window = Window::of_rows(&times).unwrap();
        assert_eq!(window, Window { from: 10.15, to: 10.9, events: 75.0 });
        assert!((window.rate() - 100.0).abs() < 1e-6, "{}", window.rate());
        assert_eq!(Window::of_rows(&[]), None);
        assert_eq!(Window::of_rows(&[1.0; 50]), None);
    }

    #[test]
    fn what_was_used_is_between_samples() {
        let samples = [sample(0.0, 0.0, 7.0), sample(10.0, 1.0, 57.0), sample(20.0, 4.0, 107.0)];
        let window = Window { from: 5.0, to: 15.0, events: 10.0 };
        assert_eq!(window.used(&samples), [Some(2e5), None, Some(0.0), Some(4e5)]);
        let published = Window::of_published(&samples, 100.0).unwrap();
        assert_eq!(published, Window { from: 3.0, to: 18.0, events: 75.0 });
        assert_eq!(Window::of_published(&samples, 101.0), None);
    }
}
