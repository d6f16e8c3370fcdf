-- Runs once, in an empty volume, before anything connects. The tables of the application are made by
-- its migrations (service `migrate`), which alone own them; here is what a migration cannot do.

ALTER DATABASE :"DBNAME" SET timezone TO 'UTC';
ALTER DATABASE :"DBNAME" SET idle_in_transaction_session_timeout TO '60s';

-- What seed.sql fills; the migration 0002 moves its rows into `jobs`.
CREATE TABLE IF NOT EXISTS starter_jobs (
    name varchar(100) PRIMARY KEY,
    description varchar(500) NOT NULL
);
