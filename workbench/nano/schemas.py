"""The eight training databases, in domains where text-to-SQL is deployed. See ``columns.py``."""

from __future__ import annotations

from workbench.nano.columns import Database, Table, cat, day, fk, flag, key, label, money, num
from workbench.nano.schemas_more import HOTEL, LOGISTICS, SCHOOL
from workbench.nano.schemas_unseen import UNSEEN

CITIES = "Boston|Denver|Austin|Seattle|Chicago|Miami"

CLINIC = Database(
    "clinic",
    (
        Table("doctors", "doctor", "doctors", 14, (
            key("doctor_id"),
            label("name", "people"),
            cat("specialty", "specialty", "specialties", "cardiology|neurology|pediatrics|oncology|dermatology",
                "working in {v}", "specialized in {v}"),
            day("hire_date", "hire date", "hire dates", "hired"),
            money("salary", "salary", "salaries", 6000, 19000, "earning more than {v}", "earning less than {v}"),
        )),
        Table("patients", "patient", "patients", 50, (
            key("patient_id"),
            label("name", "people"),
            cat("city", "city", "cities", CITIES, "living in {v}", "from {v}"),
            num("age", "age", "ages", 2, 93, "older than {v}", "younger than {v}", adds=False),
            cat("blood_type", "blood type", "blood types", "A|B|AB|O", "of blood type {v}"),
            cat("insurer", "insurer", "insurers", "Medicare|Aetna|Cigna", "insured by {v}", null=0.25),
        )),
        Table("appointments", "appointment", "appointments", 140, (
            key("appointment_id"),
            fk("patient_id", "patients", "of"),
            fk("doctor_id", "doctors", "with"),
            day("visit_date", "visit date", "visit dates", "held"),
            cat("status", "status", "statuses", "completed|cancelled|scheduled|missed"),
            money("fee", "fee", "fees", 40, 600, "costing more than {v}", "costing less than {v}"),
            num("duration", "duration", "durations", 10, 90, "lasting more than {v} minutes",
                "lasting less than {v} minutes", note="minutes"),
        )),
        Table("treatments", "treatment", "treatments", 110, (
            key("treatment_id"),
            fk("appointment_id", "appointments", "given at"),
            cat("drug", "drug", "drugs", "aspirin|insulin|ibuprofen|amoxicillin|metformin", "using {v}"),
            num("dose", "dose", "doses", 5, 500, note="mg"),
            money("cost", "cost", "costs", 5, 400, "costing more than {v}", "costing less than {v}"),
        )),
    ),
)

BANK = Database(
    "bank",
    (
        Table("branches", "branch", "branches", 12, (
            key("branch_id"),
            label("name", "Harbor|Central|Riverside|Hilltop|Oakwood|Lakeview|Northgate|Southpark|Westfield|Eastend|"
                  "Uptown|Market"),
            cat("state", "state", "states", "Texas|Ohio|Florida|Nevada", "in {v}", "located in {v}"),
            num("employees", "number of employees", "numbers of employees", 4, 60,
                "with more than {v} employees", "with fewer than {v} employees"),
        )),
        Table("customers", "customer", "customers", 45, (
            key("customer_id"),
            label("name", "people"),
            cat("segment", "segment", "segments", "retail|premium|business|student", "in the {v} segment"),
            day("birth_date", "birth date", "birth dates", "born", gap=(1955, 2003)),
            money("income", "income", "incomes", 1500, 15000, "earning more than {v}", "earning less than {v}"),
            cat("email", "email", "emails", "mail.com|post.net|inbox.org", null=0.3),
        )),
        Table("accounts", "account", "accounts", 80, (
            key("account_id"),
            fk("customer_id", "customers", "owned by"),
            fk("branch_id", "branches", "at"),
            cat("type", "type", "types", "checking|savings|credit|loan", "of type {v}"),
            money("balance", "balance", "balances", 50, 25000, "holding more than {v}", "holding less than {v}"),
            day("open_date", "opening date", "opening dates", "opened"),
            flag("is_active", "that are active", "that are not active"),
        )),
        Table("transfers", "transfer", "transfers", 150, (
            key("transfer_id"),
            fk("account_id", "accounts", "from"),
            money("amount", "amount", "amounts", 5, 3000, "of more than {v}", "of less than {v}"),
            day("made_on", "transfer date", "transfer dates", "made"),
            cat("channel", "channel", "channels", "online|atm|mobile|teller", "made through the {v} channel"),
            money("charge", "charge", "charges", 0, 30),
        )),
    ),
)

SHOP = Database(
    "shop",
    (
        Table("suppliers", "supplier", "suppliers", 12, (
            key("supplier_id"),
            label("name", "Acme|Globex|Initech|Umbrella|Stark|Wayne|Wonka|Hooli|Vandelay|Tyrell|Cyberdyne|Soylent"),
            cat("country", "country", "countries", "Germany|Japan|Brazil|Canada", "from {v}", "based in {v}"),
            num("rating", "rating", "ratings", 1, 100, adds=False),
        )),
        Table("products", "product", "products", 40, (
            key("product_id"),
            label("title", "Desk Lamp|Office Chair|Water Bottle|Notebook|Backpack|Headphones|Keyboard|Coffee Mug|"
                  "Running Shoes|Rain Jacket|Yoga Mat|Tent|Blender|Toaster|Kettle|Wool Scarf|Sunglasses|Watch|"
                  "Phone Case|Camera|Tripod|Guitar|Drum Set|Puzzle|Board Game|Kite|Skateboard|Helmet|Bicycle|"
                  "Tennis Racket|Football|Swim Goggles|Cutting Board|Frying Pan|Knife Set|Pillow|Blanket|Curtain|"
                  "Wall Clock|Mirror", "title", "titles"),
            fk("supplier_id", "suppliers", "supplied by"),
            cat("category", "category", "categories", "home|sports|music|clothing|kitchen", "in the {v} category"),
            money("price", "price", "prices", 4, 900, "costing more than {v}", "costing less than {v}", adds=False),
            num("stock", "stock", "stocks", 0, 300),
        )),
        Table("customers", "customer", "customers", 45, (
            key("customer_id"),
            label("name", "people"),
            cat("city", "city", "cities", "Paris|London|Madrid|Rome|Berlin", "living in {v}", "from {v}"),
            day("joined", "join date", "join dates", "who joined"),
            cat("phone", "phone type", "phone types", "mobile|home", null=0.3),
        )),
        Table("orders", "order", "orders", 130, (
            key("order_id"),
            fk("customer_id", "customers", "placed by"),
            fk("product_id", "products", "for"),
            num("quantity", "quantity", "quantities", 1, 40, "of more than {v} units", "of less than {v} units"),
            money("amount", "amount", "amounts", 10, 4000, "worth more than {v}", "worth less than {v}"),
            day("order_date", "order date", "order dates", "placed"),
            cat("status", "status", "statuses", "paid|shipped|returned|pending"),
        )),
    ),
)

INSURANCE = Database(
    "insurance",
    (
        Table("agents", "agent", "agents", 15, (
            key("agent_id"),
            label("name", "people"),
            cat("region", "region", "regions", "north|south|east|west", "in the {v} region"),
            money("commission", "commission", "commissions", 200, 9000),
            day("start_date", "start date", "start dates", "who started"),
        )),
        Table("clients", "client", "clients", 45, (
            key("client_id"),
            label("name", "people"),
            cat("occupation", "occupation", "occupations", "teacher|nurse|driver|engineer|farmer", "working as {v}"),
            num("children", "number of children", "numbers of children", 0, 6, "with more than {v} children",
                "with fewer than {v} children"),
            flag("smoker", "who smoke", "who do not smoke"),
            cat("contact", "contact", "contacts", "email|letter|phone", null=0.2),
        )),
        Table("policies", "policy", "policies", 75, (
            key("policy_id"),
            fk("client_id", "clients", "held by"),
            fk("agent_id", "agents", "sold by"),
            cat("kind", "kind", "kinds", "auto|home|life|health|travel", "of kind {v}"),
            money("premium", "premium", "premiums", 100, 5000, "costing more than {v}", "costing less than {v}"),
            day("signed_on", "signing date", "signing dates", "signed"),
        )),
        Table("losses", "loss", "losses", 120, (
            key("loss_id"),
            fk("policy_id", "policies", "under"),
            cat("cause", "cause", "causes", "fire|theft|storm|crash|illness", "caused by {v}"),
            money("damage", "damage", "damages", 50, 20000),
            money("paid", "paid amount", "paid amounts", 20, 15000),
            day("reported", "report date", "report dates", "reported"),
            day("settled", "settlement date", "settlement dates", "settled", null=0.3, after="reported", gap=(3, 90)),
        )),
    ),
)

TELECOM = Database(
    "telecom",
    (
        Table("plans", "plan", "plans", 12, (
            key("plan_id"),
            label("name", "Basic|Plus|Family|Unlimited|Student|Senior|Travel|Gamer|Office|Night|Weekend|Premium"),
            cat("network", "network", "networks", "3G|4G|5G", "on the {v} network"),
            money("monthly_fee", "monthly fee", "monthly fees", 5, 120, adds=False),
            num("data_gb", "data volume", "data volumes", 1, 200, note="gigabytes", adds=False),
        )),
        Table("subscribers", "subscriber", "subscribers", 60, (
            key("subscriber_id"),
            label("name", "people"),
            fk("plan_id", "plans", "on"),
            cat("city", "city", "cities", "Oslo|Bergen|Lisbon|Porto|Vienna|Graz", "living in {v}", "from {v}"),
            day("signup_date", "signup date", "signup dates", "who signed up"),
            day("left_on", "leaving date", "leaving dates", "who left", null=0.6, after="signup_date", gap=(30, 700)),
        )),
        Table("calls", "call", "calls", 150, (
            key("call_id"),
            fk("subscriber_id", "subscribers", "made by"),
            day("call_date", "call date", "call dates", "made"),
            num("minutes", "number of minutes", "numbers of minutes", 1, 120, "lasting more than {v} minutes",
                "lasting less than {v} minutes"),
            money("cost", "cost", "costs", 0, 60, "costing more than {v}", "costing less than {v}"),
            cat("type", "type", "types", "local|national|international|roaming", "of type {v}"),
            flag("dropped", "that were dropped", "that were not dropped"),
        )),
        Table("invoices", "invoice", "invoices", 120, (
            key("invoice_id"),
            fk("subscriber_id", "subscribers", "sent to"),
            money("amount", "amount", "amounts", 5, 300, "of more than {v}", "of less than {v}"),
            day("issued", "issue date", "issue dates", "issued"),
            cat("state", "state", "states", "paid|open|overdue"),
        )),
    ),
)

TRAINING = (CLINIC, BANK, SHOP, INSURANCE, TELECOM, LOGISTICS, HOTEL, SCHOOL)
DATABASES = {database.name: database for database in (*TRAINING, *UNSEEN)}
