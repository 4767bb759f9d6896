//! The two-way table between a dialect's payload and the canonical event. Read left to right it
//! decodes, right to left it encodes, so that the two cannot disagree. No expressions: a place, a
//! constant, a cast, and where to look when a place is empty.

mod cast;

use serde_json::{Map, Value, json};

pub use self::cast::Cast;
use super::Pointer;
use crate::event::parse::{attribute_name, data_name, shown};

/// The table of one entry.
#[derive(Debug)]
pub struct Table {
    fields: Vec<Field>,
    /// Positions in `fields`, longest wire pointer first.
    by_wire: Vec<usize>,
    /// Positions in `fields`, longest canonical pointer first.
    by_canonical: Vec<usize>,
    /// Where unnamed fields go; `None` when a line takes the payload as a whole.
    extra: Option<Pointer>,
}

/// One line of a table.
#[derive(Debug, Default)]
pub struct Field {
    /// `None`: nothing is written on the way out.
    pub wire: Option<Wire>,
    /// `None`: nothing is kept on the way in.
    pub canonical: Option<Pointer>,
    pub cast: Option<Cast>,
    /// Other places of the payload, tried in order on the way in.
    pub or: Vec<Pointer>,
    /// The value on the way in when every place is empty.
    pub default: Option<Value>,
    /// The value of whichever side the line names, whatever the other one says.
    pub constant: Option<Value>,
}

/// A place on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    Payload(Pointer),
    /// An attribute of the CloudEvent.
    Envelope(String),
}

/// What tells an entry's payload from another's on the way in, and is written on the way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub pointer: Pointer,
    pub expect: Expect,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    Is(Value),
    Absent,
}

impl Table {
    /// Refuses lines that could not be read both ways: gives the position of the first and why.
    pub fn new(fields: Vec<Field>) -> Result<Self, (usize, String)> {
        for (index, field) in fields.iter().enumerate() {
            let earlier = || fields.iter().take(index);
            field.check().map_err(|why| (index, why))?;
            if field.wire.is_some() && earlier().any(|other| other.wire == field.wire) {
                let why = "an earlier line names the same wire place; use `or` in this one";
                return Err((index, why.to_owned()));
            }
            if let Some(place) = &field.canonical
                && earlier().any(|other| other.canonical.as_ref() == Some(place))
            {
                return Err((
                    index,
                    format!("an earlier line names the canonical place `{place}`"),
                ));
            }
        }
        let by_wire = longest_first(&fields, |field| match &field.wire {
            Some(Wire::Payload(pointer)) => pointer.depth(),
            Some(Wire::Envelope(_)) | None => 0,
        });
        let by_canonical =
            longest_first(&fields, |field| field.canonical.as_ref().map_or(0, Pointer::depth));
        let is_whole = fields.iter().any(Field::fills_data);
        let extra = (!is_whole).then(|| Pointer::of(&["data", "extra"]));
        Ok(Self { fields, by_wire, by_canonical, extra })
    }

    /// Gives times without a zone theirs, so that the schema sees the time that is meant.
    pub fn give_zones(
        &self,
        payload: &mut Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), String> {
        for field in &self.fields {
            let (Some(wire), Some(Cast::Time(zone))) = (&field.wire, field.cast) else { continue };
            let place = match wire {
                Wire::Payload(pointer) => pointer.get_mut(payload),
                Wire::Envelope(name) => attributes.get_mut(name),
            };
            if let Some(value) = place {
                *value = Cast::Time(zone).inward(value.take(), &wire.name())?;
            }
        }
        Ok(())
    }

    /// The canonical event as an object of `data` and of those attributes that the table names.
    pub fn decode(
        &self,
        mut payload: Value,
        attributes: &Map<String, Value>,
    ) -> Result<Value, String> {
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            values.push(field.fallback(&payload, attributes)?);
        }
        for (field, slot) in pick(&self.by_wire, &self.fields, &mut values) {
            let taken = match &field.wire {
                Some(Wire::Payload(pointer)) => pointer.take(&mut payload),
                Some(Wire::Envelope(name)) => attributes.get(name).cloned(),
                None => None,
            };
            if let (None, Some(taken)) = (&slot, taken) {
                *slot = Some(field.inward(taken)?);
            }
        }
        let mut event = json!({});
        for (field, slot) in pick(&self.by_canonical, &self.fields, &mut values) {
            if let (Some(place), Some(value)) = (&field.canonical, slot.take())
                && !place.put(&mut event, value)
            {
                return Err(format!("the canonical place `{place}` is filled twice"));
            }
        }
        if payload.as_object().is_none_or(|rest| !rest.is_empty())
            && !self.extra.as_ref().is_some_and(|extra| extra.put(&mut event, payload))
        {
            return Err("`data` has no room for the fields that no line names".to_owned());
        }
        if let Some(object) = event.as_object_mut() {
            object.entry("data").or_insert_with(|| json!({}));
        }
        Ok(event)
    }

    /// The payload; lines that name the envelope are written to `attributes`. `event` is an object
    /// of `data` and the canonical attributes.
    pub fn encode(
        &self,
        mut event: Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<Value, String> {
        let extra = self.extra.as_ref().and_then(|extra| extra.take(&mut event));
        let mut values = vec![None; self.fields.len()];
        for (field, slot) in pick(&self.by_canonical, &self.fields, &mut values) {
            let taken = field.canonical.as_ref().and_then(|place| place.take(&mut event));
            *slot = match (taken, field.wire.is_some()) {
                (_, false) => None,
                (Some(value), true) => Some(field.outward(value)?),
                (None, true) => field.constant.clone(),
            };
        }
        let mut payload = json!({});
        for (field, slot) in pick(&self.by_wire, &self.fields, &mut values) {
            match (&field.wire, slot.take()) {
                (Some(Wire::Payload(place)), Some(value)) => {
                    if !place.put(&mut payload, value) {
                        return Err(format!("`{place}` is filled twice"));
                    }
                }
                (Some(Wire::Envelope(name)), Some(value)) => {
                    attributes.insert(name.clone(), value);
                }
                (_, None) | (None, Some(_)) => {}
            }
        }
        let unnamed = event.as_object_mut().and_then(|event| event.shift_remove("data"));
        for rest in [extra, unnamed].into_iter().flatten() {
            give_back(&mut payload, rest)?;
        }
        Ok(payload)
    }
}

/// What no line names goes out under its own name, and never over something that a line wrote.
fn give_back(payload: &mut Value, rest: Value) -> Result<(), String> {
    let Value::Object(rest) = rest else {
        return Err(format!("`data` is {}; expected an object", shown(&rest)));
    };
    for (key, value) in rest {
        if !Pointer::of(&[&key]).put(payload, value) {
            return Err(format!(
                "no line names `{key}` in `data`, and the payload has another one"
            ));
        }
    }
    Ok(())
}

fn longest_first(fields: &[Field], depth: impl Fn(&Field) -> usize) -> Vec<usize> {
    let mut order: Vec<_> = fields.iter().map(depth).enumerate().collect();
    order.sort_by_key(|(_, depth)| std::cmp::Reverse(*depth));
    order.into_iter().map(|(index, _)| index).collect()
}

/// Fields with their values, in the given order.
fn pick<'a>(
    order: &'a [usize],
    fields: &'a [Field],
    values: &'a mut [Option<Value>],
) -> impl Iterator<Item = (&'a Field, &'a mut Option<Value>)> {
    let mut slots: Vec<_> = values.iter_mut().map(Some).collect();
    order.iter().filter_map(move |index| {
        Some((fields.get(*index)?, slots.get_mut(*index).and_then(Option::take)?))
    })
}

impl Field {
    fn check(&self) -> Result<(), String> {
        let is_read = !self.or.is_empty() || self.default.is_some();
        match (&self.wire, &self.canonical, &self.constant) {
            (None, None, _) => return Err("a line names neither `wire` nor `canonical`".into()),
            (Some(_), Some(_), Some(_)) => {
                return Err("a line with `const` names one side, `wire` or `canonical`".into());
            }
            (Some(wire), None, None) if is_read => {
                return Err(format!("{} has a fallback and no `canonical`", wire.name()));
            }
            (None, Some(place), None) if !is_read => {
                return Err(format!("`{place}` has no `wire`, `or`, `default` or `const`"));
            }
            (Some(_), _, None) | (Some(_), None, Some(_)) | (None, Some(_), _) => {}
        }
        match self.canonical.as_ref().map(|place| (place, place.tokens())) {
            None => Ok(()),
            Some((_, [attribute])) if is_attribute(attribute) => Ok(()),
            Some((_, [data, extra, ..])) if data == "data" && extra == "extra" => {
                Err("`/data/extra` is where unnamed fields go; choose another place".into())
            }
            Some((_, [data])) if data == "data" && !self.is_whole_payload() => {
                Err("`/data` as a whole leaves unnamed fields no place; name its fields, or \
                     give the line `wire = \"\"`"
                    .into())
            }
            Some((_, [data, ..])) if data == "data" => Ok(()),
            Some((place, _)) => Err(format!(
                "`{place}` is no place of the canonical event; use /id, /source, /subject, /time or /data/…"
            )),
        }
    }

    fn fills_data(&self) -> bool {
        self.canonical.as_ref().is_some_and(|place| place.tokens() == ["data"])
    }

    fn is_whole_payload(&self) -> bool {
        matches!(&self.wire, Some(Wire::Payload(place)) if place.depth() == 0)
    }

    fn fallback(
        &self,
        payload: &Value,
        attributes: &Map<String, Value>,
    ) -> Result<Option<Value>, String> {
        if self.canonical.is_none() {
            return Ok(None);
        }
        if self.constant.is_some() {
            return Ok(self.constant.clone());
        }
        let own = match &self.wire {
            Some(Wire::Payload(pointer)) => pointer.get(payload),
            Some(Wire::Envelope(name)) => attributes.get(name),
            None => None,
        };
        if own.is_some_and(|value| !value.is_null()) {
            return Ok(None);
        }
        let other = self.or.iter().find_map(|pointer| {
            pointer.get(payload).filter(|value| !value.is_null()).map(|value| (pointer, value))
        });
        match other {
            Some((pointer, value)) => {
                let name = data_name(&pointer.to_string());
                self.cast
                    .map_or(Ok(value.clone()), |cast| cast.inward(value.clone(), &name))
                    .map(Some)
            }
            None => Ok(self.default.clone()),
        }
    }

    fn inward(&self, value: Value) -> Result<Value, String> {
        match (self.cast, &self.wire) {
            (Some(cast), Some(wire)) => cast.inward(value, &wire.name()),
            (Some(_), None) | (None, _) => Ok(value),
        }
    }

    fn outward(&self, value: Value) -> Result<Value, String> {
        match (self.cast, &self.canonical) {
            (Some(cast), Some(place)) => cast.outward(value, &format!("`{place}`")),
            (Some(_), None) | (None, _) => Ok(value),
        }
    }
}

fn is_attribute(token: &str) -> bool {
    matches!(token, "id" | "source" | "subject" | "time")
}

impl Wire {
    fn name(&self) -> String {
        match self {
            Self::Payload(pointer) => data_name(&pointer.to_string()),
            Self::Envelope(name) => attribute_name(&format!("/{name}")),
        }
    }
}

impl Condition {
    pub fn holds(&self, payload: &Value) -> bool {
        match (&self.expect, self.pointer.get(payload)) {
            (Expect::Is(expected), Some(value)) => expected == value,
            (Expect::Absent, found) => found.is_none_or(Value::is_null),
            (Expect::Is(_), None) => false,
        }
    }

    /// Takes out what the entry's type says already.
    pub fn remove(&self, payload: &mut Value) {
        match self.expect {
            Expect::Is(_) => drop(self.pointer.take(payload)),
            Expect::Absent => {}
        }
    }

    /// Writes what tells the type on the way back in.
    pub fn write(&self, payload: &mut Value) -> Result<(), String> {
        self.pointer.take(payload);
        match &self.expect {
            Expect::Is(value) if !self.pointer.put(payload, value.clone()) => {
                Err(format!("`{}` has no room for {}", self.pointer, shown(value)))
            }
            Expect::Is(_) | Expect::Absent => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Option<Pointer> {
        Some(Pointer::new(text).unwrap())
    }

    fn line(wire: &str, canonical: &str, cast: Option<Cast>) -> Field {
        let wire = at(wire).map(Wire::Payload);
        Field { wire, canonical: at(canonical), cast, ..Field::default() }
    }

    fn constant(field: Field, value: Value) -> Field {
        Field { constant: Some(value), ..field }
    }

    /// Like the table of a task event: casts, a place inside another's, an attribute.
    fn task_event() -> Table {
        let utc = Some(Cast::Time(Some(Tz::UTC)));
        Table::new(vec![
            line("/id", "/id", None),
            line("/task_id", "/data/task_id", Some(Cast::Integer)),
            line("/task_data", "/data/task", None),
            line("/task_data/id", "/data/task/id", Some(Cast::Integer)),
            line("/task_data/recurrence_rule", "/data/task/recurrence", None),
            line("/timestamp", "/time", utc),
            line("/user_id", "/data/user_id", None),
            Field {
                wire: Some(Wire::Envelope("subject".to_owned())),
                canonical: at("/subject"),
                ..Field::default()
            },
        ])
        .unwrap()
    }

    fn decode(table: &Table, payload: Value) -> Result<Value, String> {
        table.decode(payload, &Map::new())
    }

    fn encode(table: &Table, event: Value) -> Result<Value, String> {
        table.encode(event, &mut Map::new())
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z/~ é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                object(inner).prop_map(Value::from),
            ]
        })
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        let entries = prop::collection::vec(("[a-c]{1,2}", inner), 0..3);
        entries.prop_map(|entries| entries.into_iter().collect())
    }

    prop_compose! {
        fn task_data()(
            id in prop::option::of(any::<i64>()),
            rule in prop::option::of(prop_oneof![Just(json!(null)), Just(json!("daily"))]),
            rest in object(anything()),
        ) -> Value {
            let mut task = Value::Object(rest);
            if let Some(id) = id { task["id"] = json!(id); }
            if let Some(rule) = rule { task["recurrence_rule"] = rule; }
            task
        }
    }

    prop_compose! {
        fn payload()(
            task_id in prop_oneof![
                any::<i64>().prop_map(Value::from),
                any::<u64>().prop_map(Value::from),
            ],
            task in prop::option::of(prop_oneof![task_data(), Just(json!(null))]),
            user_id in prop::option::of(anything()),
            extra in object(anything()),
        ) -> Value {
            let mut payload = json!({"id": "e", "task_id": task_id, "timestamp": "2025-01-01T00:00:00Z"});
            if let Some(task) = task { payload["task_data"] = task; }
            if let Some(user_id) = user_id { payload["user_id"] = user_id; }
            for (key, value) in extra { payload[key] = value; }
            payload
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_goes_out_the_same(payload in payload()) {
            let table = task_event();
            let event = decode(&table, payload.clone()).unwrap();
            prop_assert_eq!(encode(&table, event.clone()).unwrap(), payload);
            let again = decode(&table, encode(&table, event.clone()).unwrap()).unwrap();
            prop_assert_eq!(again, event);
        }

        #[test]
        fn hostile_payloads_are_refused_not_mangled(payload in anything()) {
            let table = task_event();
            if let Ok(event) = decode(&table, payload.clone()) {
                let out = encode(&table, event);
                prop_assert!(!payload.is_object() || out == Ok(payload));
            }
        }
    }

    #[test]
    fn an_empty_place_is_filled_from_others_in_order_then_by_the_default() {
        let table = Table::new(vec![
            line("/task_id", "/data/task_id", Some(Cast::Integer)),
            Field {
                or: vec![Pointer::of(&["reminder", "id"]), Pointer::of(&["task_id"])],
                ..line("/rid", "/data/reminder_id", Some(Cast::String))
            },
            Field { default: Some(json!("Reminder")), ..line("/title", "/data/title", None) },
        ])
        .unwrap();
        for (payload, reminder_id, title) in [
            (json!({"task_id": 1, "rid": "r", "title": "t"}), "r", "t"),
            (json!({"task_id": 1, "rid": null, "reminder": {"id": 2}}), "2", "Reminder"),
            (json!({"task_id": 1, "title": null}), "1", "Reminder"),
        ] {
            let event = decode(&table, payload).unwrap();
            assert_eq!(event["data"]["reminder_id"], reminder_id);
            assert_eq!(event["data"]["title"], title);
        }
    }

    #[test]
    fn a_payload_taken_as_a_whole_keeps_what_it_calls_extra() {
        let table = Table::new(vec![line("/id", "/id", None), line("", "/data", None)]).unwrap();
        for payload in [
            json!({"id": "e", "a": 1}),
            json!({"id": "e", "extra": {"a": 1}}),
            json!({"id": "e", "a": 2, "extra": {"a": 1}}),
            json!({"id": "e"}),
        ] {
            let event = decode(&table, payload.clone()).unwrap();
            assert_eq!(encode(&table, event), Ok(payload));
        }
    }

    #[test]
    fn nothing_is_lost_without_a_word() {
        let table = task_event();
        let filled = json!({"id": "e", "data": {"task_id": "1", "extra": {"id": "other"}}});
        let why = encode(&table, filled).unwrap_err();
        assert!(why.contains("no line names `id`"), "{why}");
    }

    #[test]
    fn constants_are_for_one_side() {
        let table = Table::new(vec![
            constant(Field { canonical: None, ..line("/kind", "", None) }, json!("task")),
            constant(Field { wire: None, ..line("", "/data/origin", None) }, json!("shop")),
            line("", "/data", None),
        ])
        .unwrap();
        let event = decode(&table, json!({"kind": "anything", "a": 1})).unwrap();
        assert_eq!(event, json!({"data": {"origin": "shop", "a": 1}}));
        assert_eq!(encode(&table, event), Ok(json!({"kind": "task", "a": 1})));
    }

    #[test]
    fn the_envelope_is_a_wire_place_too() {
        let table = task_event();
        let envelope = Map::from_iter([("subject".to_owned(), json!("s"))]);
        let event = table.decode(json!({"task_id": 1}), &envelope).unwrap();
        assert_eq!(event["subject"], "s");
        let mut attributes = Map::new();
        table.encode(event, &mut attributes).unwrap();
        assert_eq!(attributes, envelope);
    }

    #[test]
    fn lines_that_cannot_be_read_both_ways_are_refused() {
        let ok = || line("/a", "/data/a", None);
        let lone = |wire: Option<&str>, canonical: Option<&str>| Field {
            wire: wire.and_then(at).map(Wire::Payload),
            canonical: canonical.and_then(at),
            ..Field::default()
        };
        for (fields, says) in [
            (vec![ok(), line("/a", "/data/b", None)], "same wire place"),
            (vec![ok(), line("/b", "/data/a", None)], "canonical place `/data/a`"),
            (vec![ok(), line("/b", "/type", None)], "no place of the canonical event"),
            (vec![ok(), line("/b", "/time/zone", None)], "no place of the canonical event"),
            (vec![ok(), line("/b", "/data/extra", None)], "unnamed fields"),
            (vec![ok(), line("/b", "/data", None)], "`/data` as a whole"),
            (vec![ok(), lone(None, None)], "neither"),
            (vec![ok(), lone(None, Some("/data/b"))], "no `wire`, `or`, `default` or `const`"),
            (
                vec![ok(), Field { default: Some(json!(1)), ..lone(Some("/b"), None) }],
                "no `canonical`",
            ),
            (vec![ok(), constant(line("/b", "/data/b", None), json!(1))], "one side"),
        ] {
            let (index, why) = Table::new(fields).unwrap_err();
            assert!(why.contains(says), "{why}");
            assert_eq!(index, 1);
        }
    }

    #[test]
    fn a_condition_tells_and_is_written() {
        let is = Condition { pointer: Pointer::of(&["kind"]), expect: Expect::Is(json!("a")) };
        let absent = Condition { pointer: Pointer::of(&["kind"]), expect: Expect::Absent };
        for (payload, told, untold) in [
            (json!({"kind": "a"}), true, false),
            (json!({"kind": "b"}), false, false),
            (json!({"kind": null}), false, true),
            (json!({}), false, true),
            (json!([]), false, true),
        ] {
            assert_eq!((is.holds(&payload), absent.holds(&payload)), (told, untold), "{payload}");
        }
        let mut payload = json!({"kind": "b"});
        is.write(&mut payload).unwrap();
        assert_eq!(payload, json!({"kind": "a"}));
        absent.write(&mut payload).unwrap();
        assert_eq!(payload, json!({}));
        assert!(is.write(&mut json!([])).is_err());
    }
}
