//! The few things the two databases do differently, so that every statement above is written once.

use sqlx::{PgConnection, Postgres, Row as _, Sqlite, SqliteConnection};

use super::{Engine, Error, Store};

/// A value bound to a statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Text(&'a str),
    MaybeText(Option<&'a str>),
    Integer(i64),
    MaybeInteger(Option<i64>),
}

/// A row of either database.
pub(super) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

impl Row {
    pub fn text(&self, column: usize) -> Result<String, Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub fn maybe_text(&self, column: usize) -> Result<Option<String>, Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub fn integer(&self, column: usize) -> Result<i64, Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => match row.try_get(column) {
                Ok(value) => value,
                // INTEGER is 32 bits wide here.
                Err(_) => i64::from(row.try_get::<i32, _>(column)?),
            },
        })
    }

    pub fn maybe_integer(&self, column: usize) -> Result<Option<i64>, Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// An open transaction of either database; rolled back when dropped.
pub(super) enum Session {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Store {
    /// A transaction that sees one state of the database.
    pub(super) async fn read(&self) -> Result<Session, Error> {
        Ok(match &self.engine {
            Engine::Sqlite { readers, .. } => Session::Sqlite(readers.begin().await?),
            Engine::Postgres(pool) => {
                Session::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        })
    }

    /// A transaction that may write.
    pub(super) async fn write_session(&self) -> Result<Session, Error> {
        Ok(match &self.engine {
            Engine::Sqlite { writer, .. } => Session::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Engine::Postgres(pool) => Session::Postgres(pool.begin().await?),
        })
    }
}

macro_rules! bound {
    ($sql:expr, $params:expr) => {{
        // Statements are texts of this room with numbered parameters; values are never part of them.
        let mut query = sqlx::query(sqlx::AssertSqlSafe($sql.to_owned()));
        for param in $params {
            query = match *param {
                Param::Text(text) => query.bind(text.to_owned()),
                Param::MaybeText(text) => query.bind(text.map(str::to_owned)),
                Param::Integer(number) => query.bind(number),
                Param::MaybeInteger(number) => query.bind(number),
            };
        }
        query
    }};
}

impl Session {
    /// Runs a statement; how many rows it touched.
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        Ok(match self {
            Self::Sqlite(session) => {
                let connection: &mut SqliteConnection = session;
                bound!(sql, params).execute(connection).await?.rows_affected()
            }
            Self::Postgres(session) => {
                let connection: &mut PgConnection = session;
                bound!(sql, params).execute(connection).await?.rows_affected()
            }
        })
    }

    pub async fn fetch(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(session) => {
                let connection: &mut SqliteConnection = session;
                bound!(sql, params).fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(session) => {
                let connection: &mut PgConnection = session;
                bound!(sql, params).fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub async fn fetch_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.fetch(sql, params).await?.into_iter().next())
    }

    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(session) => session.commit().await?,
            Self::Postgres(session) => session.commit().await?,
        }
        Ok(())
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}
