CREATE TABLE plans (
  plan_id integer PRIMARY KEY,
  name text,
  network text,
  monthly_fee numeric(10,2),
  data_gb integer --gigabytes
);
CREATE TABLE subscribers (
  subscriber_id integer PRIMARY KEY,
  name text,
  plan_id integer,
  city text,
  signup_date date,
  left_on date
);
CREATE TABLE calls (
  call_id integer PRIMARY KEY,
  subscriber_id integer,
  call_date date,
  minutes integer,
  cost numeric(10,2),
  type text,
  dropped boolean
);
CREATE TABLE invoices (
  invoice_id integer PRIMARY KEY,
  subscriber_id integer,
  amount numeric(10,2),
  issued date,
  state text
);
-- subscribers.plan_id can be joined with plans.plan_id
-- calls.subscriber_id can be joined with subscribers.subscriber_id
-- invoices.subscriber_id can be joined with subscribers.subscriber_id
