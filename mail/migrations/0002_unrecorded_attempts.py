from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mail", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="unrecorded",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
