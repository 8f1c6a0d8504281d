"""Every row that tests make: one factory a model, in the module of the model's app.

    LineFactory.create(owner=bob, balance_minor=980)
    RechargeFactory.create(rule=rule, completed=True)

Valid under the database's guards. Nothing is random and no clock is read: `at` is when one looks,
NOON unless it is said, and other instants follow from it. Alice, China Mobile and Alipay are found
where they are there already.
"""
