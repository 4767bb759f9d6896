//! What a component may do, decided from its manifest alone. SQL is parsed when a component is
//! loaded, so that nothing has to be decided about it while a handler runs.

mod sql;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::effect::Many;
use crate::manifest::{Access, Database, Manifest, Statement, StatementKind};
use crate::name::{BindingName, EventType, JobName, StoreName};
use crate::problem::Problem;

/// A call that the manifest does not grant. The text names the thing and where to grant it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not granted to `{component}`; add it under {section} in {file}")]
pub struct Denied {
    what: String,
    component: String,
    section: &'static str,
    file: String,
}

impl Denied {
    fn new(manifest: &Manifest, what: String, section: &'static str) -> Self {
        let component = manifest.name.to_string();
        Self { what, component, section, file: manifest.file.display().to_string() }
    }
}

/// Whether the component may publish events of this type; gives the type as a name.
pub fn publish(manifest: &Manifest, ty: &str) -> Result<EventType, Denied> {
    let granted = manifest.grants.publish.iter().find(|granted| granted.as_str() == ty);
    granted.cloned().ok_or_else(|| {
        Denied::new(manifest, format!("event type `{}`", shown(ty)), "[grants] publish")
    })
}

/// Whether the component may keep values in this state store; gives the store as a name.
pub fn state(manifest: &Manifest, store: &str) -> Result<StoreName, Denied> {
    let granted = manifest.grants.state.iter().find(|granted| granted.as_str() == store);
    granted.cloned().ok_or_else(|| {
        Denied::new(manifest, format!("state store `{}`", shown(store)), "[grants] state")
    })
}

/// Whether the component may read this secret; gives its store as a name.
pub fn secret(manifest: &Manifest, store: &str, name: &str) -> Result<StoreName, Denied> {
    let granted = manifest.grants.secrets.iter().find(|(granted, names)| {
        granted.as_str() == store && names.iter().any(|granted| granted == name)
    });
    granted.map(|(store, _)| store.clone()).ok_or_else(|| {
        let what = format!("secret `{}` of store `{}`", shown(name), shown(store));
        Denied::new(manifest, what, "[grants] secrets")
    })
}

/// Whether the component may schedule and cancel this job.
pub fn job(manifest: &Manifest, name: &JobName) -> Result<(), Denied> {
    if manifest.grants.jobs.iter().any(|granted| granted.matches(name.as_str())) {
        return Ok(());
    }
    Err(Denied::new(manifest, format!("job `{name}`"), "[grants] jobs"))
}

/// Whether the component may call this output binding; gives it as a name.
pub fn binding(manifest: &Manifest, name: &str) -> Result<BindingName, Denied> {
    let granted = manifest.grants.bindings.iter().find(|granted| granted.as_str() == name);
    granted.cloned().ok_or_else(|| {
        Denied::new(manifest, format!("binding `{}`", shown(name)), "[grants] bindings")
    })
}

/// As much of a guest's text as a name can have.
fn shown(text: &str) -> String {
    text.chars().take(255).collect()
}

/// A call of a statement that the manifest does not name, or names as the other kind.
pub fn no_statement(manifest: &Manifest, name: &str, kind: StatementKind) -> Denied {
    let kind = match kind {
        StatementKind::Query => "query",
        StatementKind::Execute => "execute",
    };
    Denied::new(manifest, format!("{kind} statement `{}`", shown(name)), "[sql]")
}

/// A statement that may run: its text for one database, and how many parameters it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    pub sql: Arc<str>,
    /// For a statement that is declared `many`, where its rows can share a statement.
    pub many: Option<Arc<Many>>,
    pub params: usize,
}

/// Checks one statement of the manifest against its grants.
pub fn statement(
    manifest: &Manifest,
    name: &str,
    statement: &Statement,
    database: Database,
) -> Result<Permitted, Vec<Problem>> {
    let problem = |message: String| Problem {
        line: Some(statement.line),
        ..Problem::in_file(&manifest.file, format!("[sql.{name}]: {message}"))
    };
    let Some(sql) = statement.text.of(database) else {
        return Err(vec![
            problem(format!("there is no text for {database}"))
                .help(format!("add {database} = \"…\", or give one text for both")),
        ]);
    };
    let parsed = match sql::parse_statement(sql, statement.kind, statement.many, database) {
        Ok(parsed) => parsed,
        Err(message) => return Err(vec![problem(message)]),
    };
    let ungranted: Vec<_> = parsed
        .tables
        .iter()
        .filter(|(table, access)| manifest.grants.tables.get(*table) < Some(access))
        .map(|(table, access)| problem(ungranted(manifest, table, *access)))
        .collect();
    if ungranted.is_empty() {
        let many = parsed.many.map(Arc::new);
        Ok(Permitted { sql: sql.clone(), many, params: parsed.params })
    } else {
        Err(ungranted)
    }
}

/// Checks a migration: it may only add, and only to tables that are granted to be written; so must
/// those be that it references. What it makes only where it is absent may be granted to be read.
/// Gives its statements, one text each.
pub fn migration(
    manifest: &Manifest,
    file: &std::path::Path,
    text: &str,
    database: Database,
) -> Result<Vec<String>, Vec<Problem>> {
    let parsed = sql::parse_migration(text, database)
        .map_err(|message| vec![Problem::in_file(file, message)])?;
    // Several statements may touch the same table: one fault is enough.
    let tables: BTreeSet<_> = parsed.iter().flat_map(|addition| &addition.tables).collect();
    let ungranted: Vec<_> = tables
        .into_iter()
        .filter(|(table, access)| manifest.grants.tables.get(*table) < Some(*access))
        .map(|(table, access)| ungranted(manifest, table, *access))
        .map(|message| Problem::in_file(file, message))
        .collect();
    if ungranted.is_empty() {
        Ok(parsed.into_iter().map(|addition| addition.sql).collect())
    } else {
        Err(ungranted)
    }
}

fn ungranted(manifest: &Manifest, table: &str, access: Access) -> String {
    if crate::name::is_reserved_table(table) {
        return format!("table `{table}` is the host's own, and no component is granted it");
    }
    let access = match access {
        Access::Read => "read",
        Access::Write => "write",
    };
    Denied::new(manifest, format!("{access} access to table `{table}`"), "[grants] tables")
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(sql: &str) -> Manifest {
        let text = format!(
            "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
             [grants]\npublish = [\"com.todo.x.v1\"]\n\
             tables = {{ w = \"write\", r = \"read\" }}\n[sql.s]\n{sql}\n"
        );
        Manifest::parse(Path::new("components/a/component.toml"), &text).unwrap()
    }

    fn check(sql: &str) -> Result<Permitted, String> {
        check_on(sql, Database::Sqlite)
    }

    fn check_on(sql: &str, database: Database) -> Result<Permitted, String> {
        let manifest = manifest(sql);
        statement(&manifest, "s", &manifest.sql["s"], database)
            .map_err(|problems| problems.iter().map(|p| p.message.clone()).collect())
    }

    #[test]
    fn an_ungranted_publish_says_where_to_grant_it() {
        let manifest = manifest("query = 'SELECT 1'");
        assert!(publish(&manifest, "com.todo.x.v1").is_ok());
        assert_eq!(
            publish(&manifest, "com.todo.y.v1").unwrap_err().to_string(),
            "event type `com.todo.y.v1` is not granted to `a`; \
             add it under [grants] publish in components/a/component.toml"
        );
    }

    #[test]
    fn every_capability_is_granted_by_name_and_says_where() {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n[grants]\n\
                    state = [\"redis\"]\nsecrets = { vault = [\"key\"] }\n\
                    jobs = [\"daily-*\"]\nbindings = [\"smtp\"]\n";
        let manifest = Manifest::parse(Path::new("component.toml"), text).unwrap();
        let job = |name| job(&manifest, &JobName::new(name).unwrap());
        assert!(state(&manifest, "redis").is_ok() && secret(&manifest, "vault", "key").is_ok());
        assert!(job("daily-1").is_ok() && binding(&manifest, "smtp").is_ok());
        for (denied, what, section) in [
            (state(&manifest, "vault").unwrap_err(), "state store `vault`", "state"),
            (secret(&manifest, "vault", "k").unwrap_err(), "`k` of store `vault`", "secrets"),
            (secret(&manifest, "redis", "key").unwrap_err(), "of store `redis`", "secrets"),
            (job("weekly-1").unwrap_err(), "job `weekly-1`", "jobs"),
            (binding(&manifest, "http").unwrap_err(), "binding `http`", "bindings"),
        ] {
            let text = denied.to_string();
            let place = format!("add it under [grants] {section} in component.toml");
            assert!(text.contains(what) && text.contains(&place), "{text}");
        }
        let long = state(&manifest, &"x".repeat(1 << 20)).unwrap_err().to_string();
        assert!(long.len() < 400, "{}", long.len());
    }

    #[test]
    fn granted_statements_pass_and_their_parameters_are_counted() {
        for (sql, params) in [
            ("execute = 'INSERT INTO w (a, b) VALUES ($1, $2) ON CONFLICT DO NOTHING'", 2),
            ("execute = 'UPDATE w SET a = $1 WHERE b IN (SELECT b FROM r WHERE c = $2)'", 2),
            ("execute = 'DELETE FROM W WHERE a = $1 OR b = $1'", 1),
            ("query = 'SELECT r.a FROM r JOIN \"w\" ON w.a = r.a ORDER BY 1 LIMIT $1'", 1),
            ("query = 'SELECT value FROM json_each($1)'", 1),
            ("query = \"SELECT COUNT(*), Json_Extract(a, '$.b'), [lower](a), now() FROM r\"", 0),
            ("query = 'SELECT substr(a, 1, 2), replace(a, b, c), ceil(d), trim(e) FROM r'", 0),
            ("query = \"SELECT datetime(a, 'unixepoch'), current_timestamp FROM r\"", 0),
            ("query = 'SELECT row_number() OVER (ORDER BY a), coalesce(a, $1) FROM r'", 1),
            ("execute = 'INSERT INTO w (a) VALUES ($1)'\nmany = true", 1),
        ] {
            assert_eq!(check(sql).map(|p| p.params), Ok(params), "{sql}");
        }
    }

    #[test]
    fn an_insert_for_many_rows_knows_the_order_of_its_parameters() {
        let sql = "INSERT INTO w (a, b, c) VALUES ($2, $1, '$1') ON CONFLICT DO NOTHING";
        let permitted = check(&format!("execute = \"{sql}\"\nmany = true")).unwrap();
        let Some(Many::Values { texts, order }) = permitted.many.as_deref() else {
            panic!("{permitted:?}")
        };
        assert_eq!(texts.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [64, 32, 16, 8, 4, 2]);
        assert_eq!(
            &*texts[5].1,
            "INSERT INTO w (a, b, c) VALUES (?, ?, '$1'), (?, ?, '$1') ON CONFLICT DO NOTHING"
        );
        assert_eq!(order, &[1, 0]);
        let computed = "execute = 'INSERT INTO w (a) VALUES (lower($1))'\nmany = true";
        assert_eq!(check(computed).map(|p| p.many), Ok(None));
        assert_eq!(check("execute = 'DELETE FROM w WHERE a = $1'").map(|p| p.many), Ok(None));
    }

    #[test]
    fn for_postgres_an_insert_takes_the_arrays_of_its_parameters() {
        let many = |sql: &str| {
            let permitted =
                check_on(&format!("execute = \"{sql}\"\nmany = true"), Database::Postgres);
            permitted.unwrap().many
        };
        let sql = "INSERT INTO w AS x (a, b, c, d) VALUES ($2, lower($1), 'r.p1', $2::jsonb) \
                   ON CONFLICT (a) WHERE b <> '$1' DO NOTHING";
        let Some(Many::Unnest { head, tail }) = many(sql).as_deref().cloned() else {
            panic!("{sql}")
        };
        assert_eq!(
            &*head,
            "INSERT INTO w AS x (a, b, c, d) \
             SELECT r.p2, lower(r.p1), 'r.p1', r.p2::JSONB FROM UNNEST("
        );
        assert_eq!(&*tail, ") AS r (p1, p2) ON CONFLICT(a) WHERE b <> '$1' DO NOTHING");
        for one_by_one in [
            "INSERT INTO w (a) VALUES (1)",
            "INSERT INTO w (a, b) VALUES ($1, DEFAULT)",
            "INSERT INTO w (a) VALUES ((SELECT max(r.a) FROM r WHERE r.b = $1))",
            "INSERT INTO w (a) VALUES ($1) ON CONFLICT (a) WHERE b = $2 DO NOTHING",
            "INSERT INTO w (a, b) VALUES ($1, '\\\"the arrays\\\"')",
        ] {
            assert_eq!(many(one_by_one), None, "{one_by_one}");
        }
    }

    #[test]
    fn a_statement_that_reaches_further_is_refused() {
        for (sql, says) in [
            ("execute = 'INSERT INTO r (a) VALUES (1)'", "write access to table `r`"),
            ("query = 'SELECT * FROM other'", "read access to table `other`"),
            ("query = 'SELECT (SELECT max(sequence) FROM WHARF_outbox)'", "the host's own"),
            ("query = 'SELECT * FROM sqlite_master'", "the host's own"),
            ("query = 'SELECT * FROM pragma_database_list'", "the host's own"),
            ("query = 'SELECT * FROM [fts3tokenize]'", "the host's own"),
            ("query = 'SELECT * FROM dbstat'", "the host's own"),
            ("query = 'SELECT * FROM pragma_table_info(1)'", "not allowed in FROM"),
            ("query = 'SELECT * FROM r(1)'", "not allowed in FROM"),
            ("query = 'SELECT * FROM main.r'", "without a schema"),
            ("query = 'WITH r AS (SELECT * FROM other) SELECT * FROM r'", "`WITH`"),
            ("query = 'SELECT 1; SELECT 2'", "one statement"),
            ("query = 'DELETE FROM w'", "must be a SELECT"),
            ("query = 'TABLE wharf_outbox'", ""),
            ("execute = 'SELECT 1'", "must be an INSERT, UPDATE or DELETE"),
            ("execute = 'DROP TABLE w'", "must be an INSERT, UPDATE or DELETE"),
            ("execute = 'ATTACH DATABASE x AS y'", "must be an INSERT, UPDATE or DELETE"),
            ("query = \"SELECT load_extension('x')\"", "function `load_extension`"),
            ("query = 'SELECT FTS3_Tokenizer($1)'", "function `fts3_tokenizer` is not allowed"),
            ("query = 'SELECT `fts3_tokenizer`($1, $2)'", "function `fts3_tokenizer`"),
            ("query = 'SELECT [fts3_tokenizer]($1)'", "function `fts3_tokenizer`"),
            ("query = 'SELECT \"fts3_tokenizer\"($1)'", "function `fts3_tokenizer`"),
            ("query = 'SELECT x.lower($1)'", "function `x.lower`"),
            ("query = 'SELECT zeroblob(1000000000)'", "allowed are json_*, abs, "),
            ("query = 'SELECT count(*) FROM r ORDER BY random()'", "function `random`"),
            ("query = \"SELECT a FROM r GROUP BY printf('%9d', a)\"", "function `printf`"),
            ("execute = 'INSERT INTO w (a) VALUES (1) RETURNING randomblob(9)'", "`randomblob`"),
            ("execute = 'UPDATE w SET a = 1 WHERE hex(readfile($1)) = 1'", "`readfile`"),
            ("query = 'SELECT a FROM r WHERE a = ?'", "`?`"),
            ("query = 'SELECT a FROM r WHERE a = $2'", "$1"),
            ("execute = 'UPDATE w SET a = $1'\nmany = true", "`many`"),
            ("execute = 'INSERT INTO w (a) SELECT a FROM other'", "read access to table `other`"),
            ("execute = 'UPDATE w SET a = 1 FROM other'", "read access to table `other`"),
            (
                "query = \"SELECT $1::x('a)', ', (SELECT hex(payload) FROM wharf_outbox) --') FROM r\"",
                "`::`",
            ),
            (
                "execute = \"INSERT INTO w (a) SELECT $1::x('a)', '; DELETE FROM wharf_deliveries --')\"",
                "`::`",
            ),
            ("query = \"SELECT a FROM r WHERE a IN $1('x')\"", "behind the parameter"),
            ("query = 'SELECT /* /* */ a FROM r'", "do not nest"),
            ("query = \"SELECT $$a$$ FROM r\"", ""),
            ("query = \"SELECT a -- \\r, b\\n FROM r\"", "carriage return"),
            ("query = 'SELEC'", "Expected"),
            ("execute = { postgres = 'DELETE FROM w' }", "no text for sqlite"),
        ] {
            let error = check(sql).unwrap_err();
            assert!(error.contains(says), "{sql}: {error}");
        }
    }

    #[test]
    fn a_migration_only_adds_to_granted_tables() {
        let manifest = manifest("query = 'SELECT 1'");
        let check = |sql| migration(&manifest, Path::new("0001.sql"), sql, Database::Sqlite);
        let good = "CREATE TABLE IF NOT EXISTS w (a TEXT PRIMARY KEY);\n-- why\n\
                    CREATE INDEX IF NOT EXISTS w_a ON w (a);\nALTER TABLE w ADD COLUMN b TEXT;";
        assert_eq!(check(good).map(|statements| statements.len()), Ok(3));
        let rich = "CREATE TABLE w (\n\
                    a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT NOT NULL DEFAULT (lower('A')),\n\
                    c TEXT COLLATE NOCASE CHECK (length(c) < 9), d TEXT AS (upper(c)) STORED,\n\
                    at TEXT DEFAULT CURRENT_TIMESTAMP, up INTEGER REFERENCES w (a),\n\
                    UNIQUE (b, c)) STRICT;\n\
                    CREATE UNIQUE INDEX w_b ON w (lower(b)) WHERE c IS NOT NULL;";
        assert_eq!(check(rich).map(|statements| statements.len()), Ok(2));
        for bad in [
            "CREATE TABLE other (a TEXT)",
            "DROP TABLE w",
            "ALTER TABLE w DROP COLUMN a",
            "CREATE TABLE w AS SELECT * FROM wharf_outbox",
            "CREATE TABLE wharf_x (a TEXT)",
            "CREATE TRIGGER t AFTER INSERT ON w BEGIN DELETE FROM wharf_outbox; END",
            "INSERT INTO w VALUES (1)",
            "CREATE VIEW w AS SELECT * FROM wharf_outbox",
            "CREATE VIRTUAL TABLE w USING fts3(a)",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_migration_reaches_nothing_by_the_way() {
        let manifest = manifest("query = 'SELECT 1'");
        for (bad, says) in [
            ("CREATE TABLE w (a INTEGER REFERENCES wharf_outbox (sequence))", "the host's own"),
            ("CREATE TABLE w (a INTEGER REFERENCES [WHARF_outbox])", "the host's own"),
            ("CREATE TABLE w (a, FOREIGN KEY (a) REFERENCES r (a))", "write access to table `r`"),
            ("ALTER TABLE w ADD COLUMN b REFERENCES other (a)", "write access to table `other`"),
            ("CREATE TABLE w (a DEFAULT (load_extension('x')))", "function `load_extension`"),
            ("CREATE TABLE w (a, CHECK (fts3_tokenizer(a) IS NULL))", "function `fts3_tokenizer`"),
            ("CREATE TABLE w (a, b AS (randomblob(a)))", "function `randomblob`"),
            ("CREATE TABLE w (a CHECK (a IN (SELECT a FROM r)))", "cannot hold a query"),
            ("CREATE TABLE w (a DEFAULT ($1))", "no parameters"),
            ("CREATE TABLE w AS SELECT * FROM w", "only add"),
            ("CREATE TEMPORARY TABLE w (a TEXT)", "only add"),
            ("CREATE INDEX w_a ON w (zeroblob(a))", "function `zeroblob`"),
            ("CREATE INDEX w_a ON w (a) WHERE random() > 0", "function `random`"),
            ("CREATE INDEX w_a ON w (a) WHERE a IN (SELECT a FROM r)", "cannot hold a query"),
            ("CREATE INDEX wharf_outbox_lane ON w (a)", "the host's own"),
            ("CREATE INDEX temp.w_a ON w (a)", "without a schema"),
            ("ALTER TABLE w ADD COLUMN b DEFAULT (readfile('x'))", "function `readfile`"),
        ] {
            let problems =
                migration(&manifest, Path::new("0001.sql"), bad, Database::Sqlite).unwrap_err();
            let text: String = problems.iter().map(|problem| problem.message.as_str()).collect();
            assert!(text.contains(says), "{bad}: {text}");
        }
        for bad in [
            "CREATE TABLE w (a INT) INHERITS (wharf_outbox)",
            "CREATE TABLE w PARTITION OF wharf_outbox DEFAULT",
            "CREATE TABLE w (LIKE wharf_outbox)",
            "CREATE TABLE w (a INT DEFAULT nextval('wharf_x'))",
        ] {
            let checked = migration(&manifest, Path::new("0001.sql"), bad, Database::Postgres);
            assert!(checked.is_err(), "{bad}");
        }
    }

    #[test]
    fn postgres_has_no_way_around_either() {
        for sql in [
            "SELECT * FROM ts_stat('SELECT payload FROM wharf_outbox')",
            "SELECT nextval('w_seq')",
            "SELECT query_to_xml('SELECT 1', true, true, '')",
            "SELECT pg_sleep(9)",
            "SELECT repeat('x', 1000000000)",
        ] {
            let manifest = manifest(&format!("query = \"{sql}\""));
            let checked = statement(&manifest, "s", &manifest.sql["s"], Database::Postgres);
            assert!(checked.is_err(), "{sql}");
        }
    }
}
