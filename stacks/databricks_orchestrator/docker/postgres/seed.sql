-- Jobs to begin with, in development and staging. Runs once, after init.sql.

INSERT INTO starter_jobs (name, description) VALUES
    ('ingest-sales', 'Brings yesterday''s sales into the bronze tables'),
    ('refresh-customer-360', 'Rebuilds the customer view from silver tables'),
    ('train-churn-model', 'Trains the churn model and registers it')
ON CONFLICT (name) DO NOTHING;
