CREATE TABLE warehouses (
  warehouse_id integer PRIMARY KEY,
  name text,
  city text,
  capacity integer
);
CREATE TABLE drivers (
  driver_id integer PRIMARY KEY,
  name text,
  license text,
  hired date,
  full_time boolean
);
CREATE TABLE shipments (
  shipment_id integer PRIMARY KEY,
  warehouse_id integer,
  driver_id integer,
  weight numeric(10,2),
  distance integer,
  sent date,
  delivered date
);
CREATE TABLE parcels (
  parcel_id integer PRIMARY KEY,
  shipment_id integer,
  content text,
  value numeric(10,2),
  priority text
);
-- shipments.warehouse_id can be joined with warehouses.warehouse_id
-- shipments.driver_id can be joined with drivers.driver_id
-- parcels.shipment_id can be joined with shipments.shipment_id
