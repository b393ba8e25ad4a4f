CREATE TABLE guests (
  guest_id integer PRIMARY KEY,
  name text,
  country text,
  points integer,
  tier text
);
CREATE TABLE rooms (
  room_id integer PRIMARY KEY,
  room_type text,
  floor integer,
  rate numeric(10,2),
  has_balcony boolean
);
CREATE TABLE bookings (
  booking_id integer PRIMARY KEY,
  guest_id integer,
  room_id integer,
  check_in date,
  check_out date,
  price numeric(10,2),
  source text
);
CREATE TABLE payments (
  payment_id integer PRIMARY KEY,
  booking_id integer,
  amount numeric(10,2),
  method text,
  paid_on date
);
-- bookings.guest_id can be joined with guests.guest_id
-- bookings.room_id can be joined with rooms.room_id
-- payments.booking_id can be joined with bookings.booking_id
