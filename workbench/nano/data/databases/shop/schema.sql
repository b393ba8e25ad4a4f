CREATE TABLE suppliers (
  supplier_id integer PRIMARY KEY,
  name text,
  country text,
  rating integer
);
CREATE TABLE products (
  product_id integer PRIMARY KEY,
  title text,
  supplier_id integer,
  category text,
  price numeric(10,2),
  stock integer
);
CREATE TABLE customers (
  customer_id integer PRIMARY KEY,
  name text,
  city text,
  joined date,
  phone text
);
CREATE TABLE orders (
  order_id integer PRIMARY KEY,
  customer_id integer,
  product_id integer,
  quantity integer,
  amount numeric(10,2),
  order_date date,
  status text
);
-- products.supplier_id can be joined with suppliers.supplier_id
-- orders.customer_id can be joined with customers.customer_id
-- orders.product_id can be joined with products.product_id
