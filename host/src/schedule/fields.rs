//! The six fields of a cron schedule by the grammar of Dapr's parser, dapr/kit's `cron`, which came
//! from robfig/cron. croner's grammar is another: it takes a 7 for Sunday, `L`, `W` and `#`, and not
//! every `N/step`. What Dapr takes is written out as plain lists, which mean the same to both.

struct Field {
    what: &'static str,
    least: u32,
    most: u32,
    /// Beginning with the least.
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { what: "second", least: 0, most: 59, names: &[] },
    Field { what: "minute", least: 0, most: 59, names: &[] },
    Field { what: "hour", least: 0, most: 23, names: &[] },
    Field { what: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        what: "month",
        least: 1,
        most: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        what: "day of the week",
        least: 0,
        most: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// What a field allows. Days of the month and of the week are alternatives unless one is `*`.
enum Allowed {
    Any,
    These(Vec<u32>),
}

/// The same in plain lists; the error says what is wrong with which field.
pub fn plain(text: &str) -> Result<String, String> {
    let given: Vec<_> = text.split_whitespace().collect();
    if given.len() != FIELDS.len() {
        return Err(format!("it has {} fields", given.len()));
    }
    let read = given.iter().zip(&FIELDS).map(|(text, field)| field.read(text));
    let allowed = read.collect::<Result<Vec<_>, _>>()?;
    if let [.., Allowed::These(days), months, Allowed::Any] = &allowed[..]
        && !comes(days, months)
    {
        return Err("that day never comes".to_owned());
    }
    Ok(allowed.iter().map(Allowed::written).collect::<Vec<_>>().join(" "))
}

fn comes(days: &[u32], months: &Allowed) -> bool {
    let longest = |month: &u32| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    match months {
        Allowed::Any => true,
        Allowed::These(months) => {
            months.iter().any(|month| days.iter().any(|day| *day <= longest(month)))
        }
    }
}

impl Allowed {
    fn written(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::These(numbers) => {
                numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
            }
        }
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<Allowed, String> {
        let mut numbers = Vec::new();
        let mut is_any = false;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match self.part(part)? {
                Allowed::Any => is_any = true,
                Allowed::These(more) => numbers.extend(more),
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        match (is_any, numbers.is_empty()) {
            (true, _) => Ok(Allowed::Any),
            (false, false) => Ok(Allowed::These(numbers)),
            (false, true) => Err(format!("its {} `{text}` is no number", self.what)),
        }
    }

    /// A number, a range, or all of them; each with a step or without.
    fn part(&self, part: &str) -> Result<Allowed, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.number(step, part)?)),
            None => (part, None),
        };
        let step_by = match step {
            Some(0) => return Err(format!("its {} `{part}` has a step of 0", self.what)),
            Some(step) => usize::try_from(step).unwrap_or(usize::MAX),
            None => 1,
        };
        if matches!(range, "*" | "?") {
            return Ok(match step_by {
                1 => Allowed::Any,
                _ => Allowed::These((self.least..=self.most).step_by(step_by).collect()),
            });
        }
        let (first, last) = match (range.split_once('-'), step) {
            (Some((first, last)), _) => (self.named(first, part)?, self.named(last, part)?),
            (None, Some(_)) => (self.named(range, part)?, self.most),
            (None, None) => (self.named(range, part)?, self.named(range, part)?),
        };
        if first < self.least || last > self.most {
            let sunday = match self.names.first() {
                Some(&"sun") => "; Sunday is 0 or SUN",
                _ => "",
            };
            return Err(format!(
                "its {} `{part}` is not within {} and {}{sunday}",
                self.what, self.least, self.most
            ));
        }
        if first > last {
            return Err(format!("its {} `{part}` ends before it begins", self.what));
        }
        Ok(Allowed::These((first..=last).step_by(step_by).collect()))
    }

    fn named(&self, text: &str, part: &str) -> Result<u32, String> {
        let named = (self.least..).zip(self.names);
        let mut found = named.filter(|(_, name)| text.eq_ignore_ascii_case(name));
        found.next().map_or_else(|| self.number(text, part), |(number, _)| Ok(number))
    }

    fn number(&self, text: &str, part: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("its {} `{part}` is no number", self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dapr_takes_means_what_it_means_there() {
        for (given, expected) in [
            ("* ? *  *\t* ?", "* * * * * *"),
            ("*/20 5/20 1-3 */10 jan,MAR-may Sun", "0,20,40 5,25,45 1,2,3 1,11,21,31 1,3,4,5 0"),
            (
                "0 0 0 1-31 * MON-FRI/2",
                "0 0 0 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31 * 1,3,5",
            ),
            ("5,5,,1 */1 0 0007 12/1 *", "1,5 * 0 7 12 *"),
            ("0 0 0 5,* * 6/9", "0 0 0 * * 6"),
            ("0 0 0 29 2 *", "0 0 0 29 2 *"),
            ("0 0 0 30 2 1", "0 0 0 30 2 1"),
        ] {
            assert_eq!(plain(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_dapr_refuses_is_told() {
        for (given, says) in [
            ("0 0 0 * * 7", "`7` is not within 0 and 6; Sunday is 0 or SUN"),
            ("0 0 0 * * 5-7", "`5-7` is not within 0 and 6"),
            ("0 0 0 * * FRI-SUN", "ends before it begins"),
            ("0 0 0 * * MON#1", "day of the week `MON#1` is no number"),
            ("0 0 0 * * MONDAY", "is no number"),
            ("0 0 0 * * 5L", "is no number"),
            ("0 0 0 L * *", "day of the month `L` is no number"),
            ("0 0 0 15W * *", "is no number"),
            ("0 0 0 0 * *", "`0` is not within 1 and 31"),
            ("0 0 0 * MON *", "month `MON` is no number"),
            ("0 0 24 * * *", "hour `24` is not within"),
            ("60 0 0 * * *", "second `60`"),
            ("0 0 0 1-5-9 * *", "is no number"),
            ("0 0/5/2 0 * * *", "is no number"),
            ("0 */0 0 * * *", "a step of 0"),
            ("0 , 0 * * *", "is no number"),
            ("0 -5 0 * * *", "is no number"),
            ("0 0 0 30 2 *", "that day never comes"),
            ("0 0 0 31 4,6,FEB ?", "that day never comes"),
            ("* * * * *", "it has 5 fields"),
            ("0 0 0 1 1 * 2030", "it has 7 fields"),
        ] {
            let error = plain(given).unwrap_err();
            assert!(error.contains(says), "{given}: {error}");
        }
    }
}
