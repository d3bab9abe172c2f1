-- What is kept for how many days, by the configuration's keys: one policy for all daemons that share
-- the database. The first that maintains it sets it, aegisd policy --set changes it.

CREATE TABLE aegisd_policy (
    key  text PRIMARY KEY,
    days integer NOT NULL
);
