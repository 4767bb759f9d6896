//! PostgreSQL's plans, made for parameters of any value: as it makes them for a statement that was
//! prepared once and runs often.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Access, LARGE, Statement};

pub async fn plan(connection: &mut PgConnection, statement: &Statement) -> Vec<Access> {
    let Statement { text, types } = statement;
    let types = if types.is_empty() { String::new() } else { format!("({types})") };
    let prepare =
        format!("SET plan_cache_mode = force_generic_plan; PREPARE asked{types} AS {text}");
    run(connection, &prepare).await;
    let count = (1..).take_while(|number| text.contains(&format!("${number}"))).count();
    let nulls = vec!["NULL"; count].join(", ");
    let nulls = if count == 0 { String::new() } else { format!("({nulls})") };
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE asked{nulls}"));
    let lines = sqlx::query_scalar::<_, String>(explain).fetch_all(&mut *connection).await;
    let lines = lines.unwrap_or_else(|error| panic!("{error}: {text}"));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let is_join = |line: &&str| line.contains("Join") && !line.contains("Nested Loop");
    let joined = lines.iter().any(is_join);
    let accesses = (0..lines.len()).filter_map(|at| access(lines.get(at..)?));
    accesses.map(|access| Access { joined, ..access }).collect()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await;
    done.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Of the node that the first line has. What it seeks is said in a line of its own, before the next
/// node.
fn access(lines: &[&str]) -> Option<Access> {
    let (first, rest) = lines.split_first()?;
    let node = first.trim_start().trim_start_matches("->").trim_start();
    let mut own = rest.iter().take_while(|line| !line.contains("->") && !line.contains("Plan"));
    let seeks = own.any(|line| line.trim_start().starts_with("Index Cond:"));
    let of_large = |text: &str| LARGE.iter().any(|table| text.contains(&format!(" on {table}")));
    if node.starts_with("Seq Scan") && of_large(node) {
        return Some(Access { index: None, sought: false, joined: false });
    }
    let index = match node.strip_prefix("Bitmap Index Scan on ") {
        Some(rest) => rest,
        None if node.starts_with("Index") && of_large(node) => node.split_once(" using ")?.1,
        None => return None,
    };
    let index = index.split(' ').next().unwrap_or_default();
    let of_large = LARGE.iter().any(|table| index.starts_with(table));
    of_large.then(|| Access { index: Some(index.to_owned()), sought: seeks, joined: false })
}
