CREATE TABLE airports (
  airport_id integer PRIMARY KEY,
  name text,
  country text,
  gates integer
);
CREATE TABLE pilots (
  pilot_id integer PRIMARY KEY,
  name text,
  rank text,
  hours integer,
  hired_on date
);
CREATE TABLE flights (
  flight_id integer PRIMARY KEY,
  pilot_id integer,
  airport_id integer,
  departure date,
  distance integer, --kilometers
  fuel_cost numeric(10,2),
  status text
);
-- flights.pilot_id can be joined with pilots.pilot_id
-- flights.airport_id can be joined with airports.airport_id
