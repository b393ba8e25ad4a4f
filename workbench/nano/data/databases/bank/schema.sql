CREATE TABLE branches (
  branch_id integer PRIMARY KEY,
  name text,
  state text,
  employees integer
);
CREATE TABLE customers (
  customer_id integer PRIMARY KEY,
  name text,
  segment text,
  birth_date date,
  income numeric(10,2),
  email text
);
CREATE TABLE accounts (
  account_id integer PRIMARY KEY,
  customer_id integer,
  branch_id integer,
  type text,
  balance numeric(10,2),
  open_date date,
  is_active boolean
);
CREATE TABLE transfers (
  transfer_id integer PRIMARY KEY,
  account_id integer,
  amount numeric(10,2),
  made_on date,
  channel text,
  charge numeric(10,2)
);
-- accounts.customer_id can be joined with customers.customer_id
-- accounts.branch_id can be joined with branches.branch_id
-- transfers.account_id can be joined with accounts.account_id
