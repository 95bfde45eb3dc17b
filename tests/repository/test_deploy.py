"""What deploy/ ships is what its tools accept: CloudFormation, Elastic Beanstalk, systemd, containers, HAProxy."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from cfnlint.decode import cfn_yaml
from moto import mock_aws

from demo.stack import ROOT

DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent
TEMPLATE = DEPLOY / "cloudformation" / "legwork.yaml"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ENVIRONMENT = "aws:elasticbeanstalk:application:environment"
OPTIONS = {
    "aws:autoscaling:asg": {"MinSize", "MaxSize"},
    "aws:autoscaling:launchconfiguration": {"DisableIMDSv1", "IamInstanceProfile", "SecurityGroups"},
    "aws:autoscaling:trigger": {
        *("BreachDuration", "LowerBreachScaleIncrement", "LowerThreshold", "MeasureName", "Period", "Statistic"),
        *("Unit", "UpperBreachScaleIncrement", "UpperThreshold"),
    },
    "aws:autoscaling:updatepolicy:rollingupdate": {
        *("MaxBatchSize", "MinInstancesInService", "RollingUpdateEnabled", "RollingUpdateType"),
    },
    "aws:ec2:instances": {"InstanceTypes"},
    "aws:ec2:vpc": {"AssociatePublicIpAddress", "ELBScheme", "ELBSubnets", "Subnets", "VPCId"},
    "aws:elasticbeanstalk:cloudwatch:logs": {"DeleteOnTerminate", "RetentionInDays", "StreamLogs"},
    "aws:elasticbeanstalk:command": {"BatchSize", "BatchSizeType", "DeploymentPolicy", "Timeout"},
    "aws:elasticbeanstalk:environment": {"EnvironmentType", "LoadBalancerType", "ServiceRole"},
    "aws:elasticbeanstalk:environment:process:default": {
        *("DeregistrationDelay", "HealthCheckInterval", "HealthCheckPath", "HealthyThresholdCount", "MatcherHTTPCode"),
        "UnhealthyThresholdCount",
    },
    "aws:elasticbeanstalk:environment:proxy": {"ProxyServer"},
    "aws:elasticbeanstalk:healthreporting:system": {"SystemType"},
    "aws:elbv2:listener:443": {"Protocol", "SSLCertificateArns", "SSLPolicy"},
    "aws:elbv2:loadbalancer": {"IdleTimeout"},
}
"""Names in AWS's "General options for all environments"; cfn-lint takes any, and Elastic Beanstalk ignores unknown ones
or refuses the environment."""
UNSUPPORTED = ("AWS::ElasticBeanstalk::", "AWS::ElastiCache::", "AWS::RDS::DBParameterGroup")
"""What moto cannot create from a template."""
PARAMETERS = {
    **{"BundleBucket": "bundles", "BundleKey": "legwork.zip", "SolutionStack": "Python 3.11", "Broker": "sqs"},
    **{"HostName": "legwork.example.org", "MailgunSenderDomain": "mg.example.org", "Replicas": "2"},
    **{"MailgunSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api"},
    **{"MailgunWebhookSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:signing"},
    **{"CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/legwork"},
    **{"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms"},
}


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))))
    return loaded


def option_settings() -> Iterator[tuple[str, str]]:
    """Namespace and name of each option that is set in the template or in .ebextensions."""
    for resource in template()["Resources"].values():
        if resource["Type"].startswith("AWS::ElasticBeanstalk::"):
            for option in resource.get("Properties", {}).get("OptionSettings", []):
                alternatives = option["Fn::If"][1:] if "Fn::If" in option else [option]
                yield from ((each["Namespace"], each["OptionName"]) for each in alternatives if "Namespace" in each)
    for file in (DEPLOY / "elastic_beanstalk" / ".ebextensions").glob("*.config"):
        for namespace, options in yaml.safe_load(file.read_text()).get("option_settings", {}).items():
            yield from ((namespace, name) for name in options)


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)


def test_the_template_has_no_fault_that_cfn_lint_knows() -> None:
    linted = run(PROGRAMS / "cfn-lint", TEMPLATE)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def test_every_option_of_elastic_beanstalk_exists() -> None:
    found = set(option_settings())
    assert len(found) > 40
    variables = {ENVIRONMENT, f"{ENVIRONMENT}secrets"}
    assert {
        (space, name) for space, name in found if space not in variables and name not in OPTIONS.get(space, ())
    } == set()


def test_every_variable_that_is_set_there_is_one_of_ours() -> None:
    names = {name for space, name in option_settings() if space.startswith(ENVIRONMENT)}
    documented = (ROOT / "docs/operations/settings.md").read_text() + (
        ROOT / "docs/operations/elastic-beanstalk.md"
    ).read_text()
    assert {name for name in names if f"`{name}" not in documented} == set()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


@pytest.mark.filterwarnings("ignore:Tried to parse")
def test_what_moto_can_create_is_created(aws: None) -> None:
    stack = template()
    resources = stack["Resources"]
    stack["Resources"] = {name: it for name, it in resources.items() if not it["Type"].startswith(UNSUPPORTED)}
    del stack["Outputs"]
    for resource in stack["Resources"].values():
        resource.get("Properties", {}).pop("DBParameterGroupName", None)
    boto3.client("cloudformation").create_stack(
        StackName="legwork",
        TemplateBody=json.dumps(stack),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in PARAMETERS.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    databases = boto3.client("rds").describe_db_instances()["DBInstances"]
    assert [len(database.get("ReadReplicaDBInstanceIdentifiers", [])) for database in databases] == [2, 0, 0]
    queues = boto3.client("sqs")
    url = queues.get_queue_url(QueueName="legwork-jobs")["QueueUrl"]
    policy = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    assert json.loads(policy)["maxReceiveCount"] == 1000
    assert (
        len(boto3.client("ec2").describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.20.*"]}])["Subnets"])
        == 4
    )


def test_the_bundle_has_what_runs_and_nothing_else(tmp_path: Path) -> None:
    made = run(ROOT / "bin" / "bundle", tmp_path / "bundle.zip")
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        names = set(bundle.namelist())
        worker = bundle.getinfo("deploy/elastic_beanstalk/worker")
    assert {
        "Procfile",
        "manage.py",
        "requirements.txt",
        "project/asgi.py",
        ".platform/nginx/conf.d/legwork.conf",
    } <= names
    assert {".ebextensions/10-environment.config", ".ebextensions/20-worker-scaling.config"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/", "demo/", "clients/"))]
    assert worker.external_attr >> 16 & 0o111
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        assert b"deploy/elastic_beanstalk/worker" in bundle.read("Procfile")


def test_the_role_of_an_instance_decides_its_second_process(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    script = DEPLOY / "elastic_beanstalk" / "worker"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert run(script, env=path | {"LEGWORK_ROLE": "worker"}).stdout == "manage.py qcluster\n"
    wrong = run(script, env=path | {"LEGWORK_ROLE": "wroker"})
    assert (wrong.returncode, wrong.stderr) == (1, "LEGWORK_ROLE must be web or worker, not wroker.\n")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """With a Python that exists here in the place of the one in /opt/legwork."""
    for other in UNITS:
        text = other.read_text().replace("/opt/legwork/.venv/bin/python", sys.executable).replace("/opt/legwork", "/")
        (tmp_path / other.name).write_text(text.replace("User=legwork", "User=daemon"))
    verified = run("systemd-analyze", "verify", tmp_path / unit.name)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_units_and_example_name_the_same_folder() -> None:
    assert len(UNITS) == 3
    for unit in UNITS:
        assert "EnvironmentFile=/etc/legwork/environment" in unit.read_text()
        assert "WorkingDirectory=/opt/legwork" in unit.read_text()


def test_the_image_is_made_as_hadolint_likes_it() -> None:
    linted = run(PROGRAMS / "hadolint", DEPLOY / "container" / "Containerfile")
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_gets_every_package_that_runs() -> None:
    ignored = (DEPLOY / "container" / "Containerfile.dockerignore").read_text().splitlines()
    packages = {path.parent.name for path in ROOT.glob("*/apps.py")} | {"settings", "project", "rest"}
    assert {name for name in packages if f"!{name}" not in ignored} == set()


def test_haproxy_takes_the_front_of_the_containers(tmp_path: Path) -> None:
    front = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())["services"]["front"]
    mounted, _, _ = front["volumes"][0].partition(":")
    config = shutil.copy(DEPLOY / "container" / mounted, tmp_path)
    for balancer in ("yes", "no"):
        env = {**os.environ, **front["environment"], "BEHIND_BALANCER": balancer}
        checked = run(shutil.which("haproxy") or "/usr/sbin/haproxy", "-c", "-dW", "-f", config, env=env)
        assert checked.returncode == 0, checked.stderr


def test_compose_runs_the_processes_of_the_procfile() -> None:
    services = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())["services"]
    procfile = (ROOT / "Procfile").read_text()
    for name in ("worker", "release"):
        assert " ".join(services[name]["command"]) in procfile
    variables = {name for name in services["web"]["environment"] if re.fullmatch("[A-Z_]+", name)}
    documented = (ROOT / "docs/operations/settings.md").read_text()
    assert {name for name in variables if f"`{name}" not in documented} == set()
