CREATE TABLE agents (
  agent_id integer PRIMARY KEY,
  name text,
  region text,
  commission numeric(10,2),
  start_date date
);
CREATE TABLE clients (
  client_id integer PRIMARY KEY,
  name text,
  occupation text,
  children integer,
  smoker boolean,
  contact text
);
CREATE TABLE policies (
  policy_id integer PRIMARY KEY,
  client_id integer,
  agent_id integer,
  kind text,
  premium numeric(10,2),
  signed_on date
);
CREATE TABLE losses (
  loss_id integer PRIMARY KEY,
  policy_id integer,
  cause text,
  damage numeric(10,2),
  paid numeric(10,2),
  reported date,
  settled date
);
-- policies.client_id can be joined with clients.client_id
-- policies.agent_id can be joined with agents.agent_id
-- losses.policy_id can be joined with policies.policy_id
