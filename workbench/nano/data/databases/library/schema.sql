CREATE TABLE authors (
  author_id integer PRIMARY KEY,
  name text,
  nationality text,
  birth_date date
);
CREATE TABLE books (
  book_id integer PRIMARY KEY,
  title text,
  author_id integer,
  genre text,
  pages integer,
  price numeric(10,2)
);
CREATE TABLE members (
  member_id integer PRIMARY KEY,
  name text,
  town text,
  is_student boolean
);
CREATE TABLE loans (
  loan_id integer PRIMARY KEY,
  book_id integer,
  member_id integer,
  loan_date date,
  return_date date,
  fine numeric(10,2)
);
-- books.author_id can be joined with authors.author_id
-- loans.book_id can be joined with books.book_id
-- loans.member_id can be joined with members.member_id
