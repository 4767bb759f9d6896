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
                   ON CONFLICT (a) DO NOTHING";
        let Some(Many::Unnest { head, tail }) = many(sql).as_deref().cloned() else {
            panic!("{sql}")
        };
        assert_eq!(
            &*head,
            "INSERT INTO w AS x (a, b, c, d) \
             SELECT r.p2, lower(r.p1), 'r.p1', r.p2::JSONB FROM "
        );
        assert_eq!(&*tail, " ON CONFLICT(a) DO NOTHING");
        for one_by_one in [
            "INSERT INTO w (a) VALUES (1)",
            "INSERT INTO w (a, b) VALUES ($1, DEFAULT)",
            "INSERT INTO w (a) VALUES ((SELECT max(r.a) FROM r WHERE r.b = $1))",
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
            ("query = 'SELECT /* /* */ a FROM r'", "a comment holds /*"),
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
    }

    /// The cases that are let through, or refused for another reason than they should be.
    fn missed(cases: &[(&str, &str)], check: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
        let missed = cases.iter().filter_map(|(sql, says)| match check(sql) {
            Err(error) if error.contains(says) => None,
            other => Some(format!("{sql}: {other:?}")),
        });
        missed.collect()
    }

    /// Shapes of SQL by which something could be reached that nobody sees; the rest are words that
    /// PostgreSQL and the parser take for different things.
    #[test]
    fn postgres_has_no_way_around_either() {
        let cases = [
            ("SELECT * FROM ts_stat('SELECT payload FROM wharf_outbox')", "not allowed in FROM"),
            ("SELECT * FROM dblink('x', 'SELECT 1') AS t(a int)", "not allowed in FROM"),
            ("SELECT * FROM generate_series(1, 1000000000)", "not allowed in FROM"),
            ("SELECT * FROM jsonb_to_recordset($1) AS x(a text)", "not allowed in FROM"),
            ("SELECT * FROM r, LATERAL pg_ls_dir('.') AS x", "not allowed in FROM"),
            ("SELECT * FROM ROWS FROM (pg_ls_dir('.'))", ""),
            ("SELECT * FROM XMLTABLE('/a' PASSING r.a COLUMNS b text)", ""),
            ("SELECT 1; -- one", "after the `;`"),
            ("SELECT nextval('w_seq')", "function `nextval`"),
            ("SELECT currval('w_seq'), setval('w_seq', 1)", "function `currval`"),
            ("SELECT set_config('role', 'x', false)", "function `set_config`"),
            ("SELECT current_setting('data_directory')", "function `current_setting`"),
            ("SELECT pg_read_file('/etc/passwd')", "function `pg_read_file`"),
            ("SELECT lo_import('/etc/passwd')", "function `lo_import`"),
            ("SELECT query_to_xml('SELECT 1', true, true, '')", "function `query_to_xml`"),
            ("SELECT r.a FROM r WHERE pg_sleep(9) IS NULL", "function `pg_sleep`"),
            ("SELECT repeat('x', 1000000000)", "function `repeat`"),
            ("SELECT lpad('x', 1000000000)", "function `lpad`"),
            ("SELECT random()", "function `random`"),
            ("SELECT pg_catalog.lower('x')", "function `pg_catalog.lower`"),
            ("SELECT \\\"LOWER\\\"('x')", "function `lower`"),
            ("SELECT U&\\\"pg\\\\005fsleep\\\"(9)", "put a space"),
            ("SELECT array_agg(a ORDER BY pg_sleep(9)) FROM r", "function `pg_sleep`"),
            ("SELECT count(*) FILTER (WHERE pg_sleep(9) IS NULL) FROM r", "function `pg_sleep`"),
            ("SELECT sum(b) OVER (ORDER BY pg_sleep(9)) FROM r", "function `pg_sleep`"),
            ("SELECT rank() OVER x FROM r WINDOW x AS (ORDER BY pg_sleep(9))", "`pg_sleep`"),
            ("SELECT ARRAY(SELECT payload FROM wharf_outbox)", "function `array`"),
            ("SELECT current_user", ""),
            ("SELECT user", ""),
            ("SELECT 'wharf_outbox'::regclass", "type `REGCLASS`"),
            ("SELECT CAST(a AS regprocedure) FROM r", "type `regprocedure`"),
            ("SELECT regclass 'wharf_outbox'", ""),
            ("SELECT a::pg_catalog.text FROM r", "type `pg_catalog.text`"),
            ("SELECT a::wharf_outbox FROM r", "type `wharf_outbox`"),
            ("SELECT ''::bit(80000000)", "type `BIT(80000000)`"),
            ("SELECT a OPERATOR(pg_catalog.+) 1 FROM r", "use the operators"),
            ("SELECT a FROM r ORDER BY a USING OPERATOR(x.<)", "not by an operator"),
            ("SELECT a <-> b FROM r", "not allowed in SQL"),
            ("SELECT a @-- b\n FROM r", "not allowed in SQL"),
            ("SELECT a +-- b\n 1 FROM r", "put a space"),
            ("SELECT a */* b */ 2 FROM r", "put a space"),
            ("SELECT 1 /* /* */ , (SELECT 1 FROM wharf_outbox) -- */ */", "a comment holds /*"),
            ("SELECT E'\\\\'' FROM r", "write strings as '…'"),
            ("SELECT U&'a' FROM r", "write strings as '…'"),
            ("SELECT B'1', X'ff' FROM r", "write strings as '…'"),
            ("SELECT N'a' FROM r", "write strings as '…'"),
            ("SELECT $$a$$ FROM r", "write strings as '…'"),
            ("SELECT $x$a$x$ FROM r", "write strings as '…'"),
            ("SELECT 'a\\\\', (SELECT 1 FROM other), '' FROM r", "a backslash before a quote"),
            ("SELECT a$1 FROM r", "letters, digits and _"),
            ("SELECT a$$, 1 $$ FROM r", ""),
            ("SELECT a FROM r WHERE a = $1e'x'", ""),
            ("SELECT \u{a0}a FROM r", "letters, digits and _"),
            ("SELECT 1_000", "digits alone"),
            ("SELECT 0x1f", "write strings as '…'"),
            ("TABLE wharf_outbox", ""),
            ("SELECT * FROM r UNION TABLE wharf_outbox", ""),
            ("SELECT * INTO w FROM r", "only SELECT and VALUES"),
            ("SELECT * FROM r FOR UPDATE", "cannot lock rows"),
            ("SELECT * FROM (SELECT * FROM r FOR SHARE) AS x", "cannot lock rows"),
            ("WITH x AS (DELETE FROM w RETURNING a) SELECT * FROM x", "`WITH`"),
            ("SELECT * FROM only wharf_outbox", ""),
            ("SELECT * FROM (only)", ""),
            ("SELECT only.a FROM r AS only", "quote the name"),
            ("SELECT * FROM r TABLESAMPLE system(1)", "not allowed in FROM"),
            ("SELECT * FROM public.r", "without a schema"),
            ("SELECT * FROM pg_class", "the host's own"),
            ("SELECT * FROM information_schema.tables", "without a schema"),
            ("SELECT * FROM \\\"R\\\"", "read access to table `R`"),
            ("SELECT * FROM \\\"wharf_outbox\\\"", "the host's own"),
            ("SELECT * FROM WHARF_outbox", "the host's own"),
            ("SELECT (SELECT payload FROM wharf_outbox LIMIT 1)", "the host's own"),
            ("SELECT a FROM r WHERE a = ANY(SELECT payload FROM wharf_outbox)", "the host's own"),
            ("SELECT aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg", "63 bytes"),
            ("COPY w TO '/tmp/x'", "must be a SELECT"),
            ("EXPLAIN ANALYZE SELECT 1", "must be a SELECT"),
            ("DO 'BEGIN END'", ""),
            ("SHOW data_directory", "must be a SELECT"),
        ];
        let check = |sql: &str| {
            let query = format!("query = \"{}\"", sql.replace('\n', "\\n"));
            check_on(&query, Database::Postgres).map(|_| ())
        };
        assert_eq!(missed(&cases, check), Vec::<String>::new());
    }

    #[test]
    fn what_postgres_writes_stays_within_its_grants() {
        let cases = [
            ("INSERT INTO w TABLE wharf_outbox", ""),
            ("INSERT INTO w AS only (a) VALUES (1)", "quote the name"),
            ("INSERT INTO w (a) SELECT payload FROM wharf_outbox", "the host's own"),
            ("INSERT INTO w (a) VALUES ($1) RETURNING (SELECT a FROM other)", "table `other`"),
            (
                "INSERT INTO w (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = (SELECT a FROM other)",
                "table `other`",
            ),
            (
                "INSERT INTO w (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = 1 \
                 WHERE EXISTS (SELECT 1 FROM other)",
                "table `other`",
            ),
            ("INSERT INTO w (a) VALUES (nextval('other_seq'))", "function `nextval`"),
            ("WITH x AS (SELECT 1) INSERT INTO w SELECT * FROM x", ""),
            ("UPDATE ONLY w SET a = 1", ""),
            ("UPDATE w SET (a, b) = (SELECT a, b FROM other)", "table `other`"),
            ("UPDATE w SET a = 1 FROM other", "table `other`"),
            ("UPDATE w SET a = 1 WHERE b IN (SELECT b FROM r FOR UPDATE)", "cannot lock rows"),
            ("DELETE FROM w USING other WHERE w.a = other.a", "table `other`"),
            ("DELETE FROM w WHERE a = pg_read_file('x')", "function `pg_read_file`"),
            ("MERGE INTO w USING r ON w.a = r.a WHEN MATCHED THEN DELETE", "must be an INSERT"),
            ("TRUNCATE w", "must be an INSERT"),
            ("SELECT 1 INTO w", "must be an INSERT"),
            ("COPY w FROM '/etc/passwd'", "must be an INSERT"),
            ("SET search_path = x", "must be an INSERT"),
            ("INSERT INTO \\\"W\\\" (a) VALUES (1)", "write access to table `W`"),
            ("INSERT INTO w (a) VALUES (1); DELETE FROM w", "one statement"),
        ];
        let check =
            |sql: &str| check_on(&format!("execute = \"{sql}\""), Database::Postgres).map(|_| ());
        assert_eq!(missed(&cases, check), Vec::<String>::new());
    }

    #[test]
    fn what_postgres_has_of_its_own_can_be_used() {
        for sql in [
            "query = \"SELECT a::text, b->>'x', c @> $1, d #>> '{a,b}', e ? 'k' FROM r\"",
            "query = \"SELECT a || 'x', b::numeric(10, 2), c::timestamptz AT TIME ZONE 'UTC' FROM r\"",
            "query = \"SELECT a FROM r WHERE b = ANY($1::text[]) AND c ILIKE $2 AND d ~ '^x'\"",
            "query = \"SELECT e.value FROM r, jsonb_each_text(r.tags) AS e\"",
            "query = \"SELECT u FROM UNNEST($1::text[]) AS u\"",
            "query = \"SELECT DISTINCT ON (a) a, b FROM r ORDER BY a, b DESC NULLS LAST LIMIT $1\"",
            "query = \"SELECT count(*) FILTER (WHERE b > -1), max(c) >= - 1 FROM r -- all\\n\"",
            "query = \"SELECT date_trunc('day', a), now() - INTERVAL '1 day', EXTRACT(year FROM b) FROM r\"",
            "query = \"SELECT a::task_status, \\\"user\\\" FROM r WHERE c IS NOT DISTINCT FROM $1\"",
            "query = \"SELECT array_to_string(array_agg(a ORDER BY a), ',') FROM r GROUP BY b\"",
            "execute = \"INSERT INTO w (a, b) VALUES ($1::jsonb, CURRENT_TIMESTAMP) ON CONFLICT (a) DO UPDATE SET b = excluded.b\"",
            "execute = \"UPDATE w AS x SET a = r.a FROM r WHERE r.b = x.b AND x.c <> $1\"",
            "execute = \"DELETE FROM w USING r WHERE w.a = r.a RETURNING w.a\"",
        ] {
            let checked = check_on(sql, Database::Postgres);
            assert!(checked.is_ok(), "{sql}: {checked:?}");
        }
    }

    #[test]
    fn a_migration_for_postgres_only_adds_too() {
        let manifest = manifest("query = 'SELECT 1'");
        let check =
            |sql: &str| migration(&manifest, Path::new("0001.sql"), sql, Database::Postgres);
        let good = "CREATE TABLE IF NOT EXISTS w (\n\
                    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, seq BIGSERIAL,\n\
                    at TIMESTAMPTZ NOT NULL DEFAULT now(), tags JSONB DEFAULT '[]'::jsonb,\n\
                    raw BYTEA, price NUMERIC(10, 2) CHECK (price >= 0), names TEXT[],\n\
                    state task_status, who UUID REFERENCES w (who) ON DELETE CASCADE,\n\
                    low TEXT GENERATED ALWAYS AS (lower(name)) STORED, name VARCHAR(80) UNIQUE,\n\
                    CONSTRAINT w_pair UNIQUE (at, name)\n);\n\
                    CREATE INDEX w_low ON w (lower(name)) WHERE raw IS NOT NULL;\n\
                    CREATE INDEX w_tags ON w USING gin (tags jsonb_path_ops);\n\
                    CREATE UNIQUE INDEX w_at ON w (at DESC) INCLUDE (name);\n\
                    ALTER TABLE w ADD COLUMN IF NOT EXISTS more DOUBLE PRECISION;";
        assert_eq!(check(good).map(|statements| statements.len()), Ok(5));
        let cases = [
            ("CREATE TABLE w (a INT) INHERITS (wharf_outbox)", "only add"),
            ("CREATE TABLE w PARTITION OF wharf_outbox DEFAULT", "only add"),
            ("CREATE TABLE w (a INT) PARTITION BY RANGE (a)", "only add"),
            ("CREATE TABLE w (LIKE wharf_outbox)", ""),
            ("CREATE TABLE w AS SELECT * FROM wharf_outbox", "only add"),
            ("CREATE TABLE w AS TABLE wharf_outbox", "only add"),
            ("CREATE TEMPORARY TABLE w (a INT)", "only add"),
            ("CREATE UNLOGGED TABLE w (a INT)", ""),
            ("CREATE TABLE w (a INT) WITH (fillfactor = 10)", "only add"),
            ("CREATE TABLE w (a INT) TABLESPACE x", ""),
            ("CREATE TABLE w (a INT DEFAULT nextval('wharf_x'))", "function `nextval`"),
            ("CREATE TABLE w (a INT DEFAULT pg_sleep(9))", "function `pg_sleep`"),
            ("CREATE TABLE w (a TEXT DEFAULT current_user)", ""),
            ("CREATE TABLE w (a TEXT CHECK (a IN (SELECT a FROM r)))", "cannot hold a query"),
            ("CREATE TABLE w (a BIGINT REFERENCES wharf_outbox (sequence))", "the host's own"),
            ("CREATE TABLE w (a TEXT, FOREIGN KEY (a) REFERENCES other (a))", "table `other`"),
            ("CREATE TABLE w (a regclass)", "type `REGCLASS`"),
            ("CREATE TABLE w (a pg_catalog.text)", "type `pg_catalog.text`"),
            ("CREATE TABLE w (a INT CONSTRAINT wharf_outbox_lane UNIQUE)", "only add"),
            ("CREATE TABLE w (a INT, CONSTRAINT wharf_x PRIMARY KEY (a))", "only add"),
            ("CREATE TABLE w (a INT, EXCLUDE USING gist (a WITH =))", "only add"),
            ("CREATE TABLE public.w (a INT)", "without a schema"),
            ("CREATE TABLE \"W\" (a INT)", "write access to table `W`"),
            ("CREATE INDEX CONCURRENTLY w_a ON w (a)", "only add"),
            ("CREATE INDEX wharf_x ON w (a)", "the host's own"),
            ("CREATE INDEX w_a ON w (nextval('x'))", "function `nextval`"),
            ("CREATE INDEX w_a ON w (a x.ops)", "only add"),
            ("CREATE INDEX IF NOT EXISTS r_a ON r USING gin (a jsonb_path_ops)", "write access"),
            ("ALTER TABLE w DROP COLUMN a", "only add"),
            ("ALTER TABLE w ALTER COLUMN a TYPE INT USING pg_sleep(9)", "only add"),
            ("ALTER TABLE w OWNER TO x", "only add"),
            ("ALTER TABLE w ADD COLUMN b regproc", "type `regproc`"),
            ("ALTER TABLE w RENAME TO x", "only add"),
            ("CREATE VIEW w AS SELECT * FROM wharf_outbox", "only add"),
            ("CREATE MATERIALIZED VIEW w AS SELECT * FROM wharf_outbox", "only add"),
            (
                "CREATE FUNCTION w() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
                "only add",
            ),
            ("CREATE TRIGGER t AFTER INSERT ON w EXECUTE FUNCTION f()", "only add"),
            ("CREATE EXTENSION dblink", "only add"),
            ("CREATE SCHEMA w", "only add"),
            ("CREATE TYPE w AS ENUM ('a')", "only add"),
            ("CREATE SEQUENCE w", "only add"),
            ("CREATE RULE w AS ON SELECT TO r DO INSTEAD NOTHING", ""),
            ("CREATE POLICY w ON w", "only add"),
            ("GRANT ALL ON wharf_outbox TO public", "only add"),
            ("DO $$ BEGIN DELETE FROM wharf_outbox; END $$", "write strings as '…'"),
            ("COMMENT ON TABLE w IS 'x'", "only add"),
            ("INSERT INTO w VALUES (1)", "only add"),
            ("SET ROLE x", "only add"),
            ("COMMIT", "only add"),
        ];
        let check = |sql: &str| {
            let problems = check(sql).map(|_| ());
            problems.map_err(|problems| problems.iter().map(|p| p.message.as_str()).collect())
        };
        assert_eq!(missed(&cases, check), Vec::<String>::new());
    }
}
