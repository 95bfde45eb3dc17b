"""A typical job API with FastAPI, SQLAlchemy (asyncio) on asyncpg, and Celery on Redis.

`python -m benchmarks.peers.api_fastapi USERS JOBS` fills the database and prints a token and a job of each user.
"""

import asyncio
import hashlib
import json
import os
import secrets
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from celery import Celery
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ForeignKey, Index, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://"), pool_size=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)
queue = Celery("bench", broker=f"{os.environ['REDIS_URL']}/0", backend=f"{os.environ['REDIS_URL']}/1")
app = FastAPI()


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSONB, list[Any]: JSONB}  # noqa: RUF012


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    is_active: Mapped[bool] = mapped_column(default=True)


class Token(Base):
    __tablename__ = "tokens"
    digest: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime | None] = mapped_column(default=None)


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_of_user", "user_id", "id"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    params: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3)
    priority: Mapped[int] = mapped_column(default=0)
    timeout: Mapped[int] = mapped_column(default=600)
    unique_key: Mapped[str | None] = mapped_column(default=None)
    run_at: Mapped[str]
    created_at: Mapped[str]
    started_at: Mapped[str | None] = mapped_column(default=None)
    finished_at: Mapped[str | None] = mapped_column(default=None)
    result: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    errors: Mapped[list[Any]]
    cancel_requested: Mapped[bool] = mapped_column(default=False)


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seconds: int = Field(ge=0, le=3600)


class JobRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: str
    params: Params
    priority: int = Field(0, ge=-100, le=100)
    timeout: int = Field(600, ge=1, le=86_400)
    max_attempts: int = Field(3, ge=1, le=1000)


class JobResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    url: str = ""
    kind: str
    params: dict[str, Any]
    status: str
    progress: dict[str, Any]
    attempt: int
    max_attempts: int
    priority: int
    timeout: int
    unique_key: str | None
    run_at: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    result: dict[str, Any] | None
    errors: list[Any]
    cancel_requested: bool


class JobList(BaseModel):
    next: str | None
    results: list[JobResponse]


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def user_id(session: Session, authorization: Annotated[str, Header()]) -> int:
    digest = hashlib.sha512(authorization.removeprefix("Token ").encode()).hexdigest()
    query = select(Token.user_id, Token.expires_at).join(User).where(Token.digest == digest, User.is_active)
    found = (await session.execute(query)).first()
    if found is None or (found.expires_at and found.expires_at < datetime.now(UTC)):
        raise HTTPException(401)
    return int(found.user_id)


UserId = Annotated[int, Depends(user_id)]


def shown(job: Job, request: Request) -> JobResponse:
    answer = JobResponse.model_validate(job)
    answer.url = str(request.url_for("read_job", job_id=job.id))
    return answer


@app.get("/api/v1/jobs/{job_id}/")
async def read_job(job_id: uuid.UUID, request: Request, session: Session, owner: UserId) -> Response:
    job = (await session.execute(select(Job).where(Job.id == job_id, Job.user_id == owner))).scalar_one_or_none()
    if job is None:
        raise HTTPException(404)
    body = shown(job, request).model_dump_json().encode()
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, media_type="application/json", headers={"ETag": etag})


@app.get("/api/v1/jobs/")
async def list_jobs(request: Request, session: Session, owner: UserId) -> JobList:
    query = select(Job).where(Job.user_id == owner).order_by(Job.id.desc()).limit(51)
    jobs = (await session.execute(query)).scalars().all()
    following = str(request.url.include_query_params(after=jobs[49].id)) if len(jobs) > 50 else None
    return JobList(next=following, results=[shown(job, request) for job in jobs[:50]])


@app.post("/api/v1/jobs/", status_code=202)
async def post_job(
    body: JobRequest, request: Request, response: Response, session: Session, owner: UserId
) -> JobResponse:
    job = new_job(owner, **body.model_dump())
    session.add(job)
    await session.commit()
    queue.send_task("bench.run", [str(job.id)])
    answer = shown(job, request)
    response.headers["Location"] = answer.url
    return answer


def new_job(owner: int, **fields: Any) -> Job:
    now = datetime.now(UTC).isoformat()
    empty: dict[str, Any] = {"progress": {"percent": 0, "message": ""}, "errors": [], "run_at": now, "created_at": now}
    return Job(id=uuid.uuid4(), user_id=owner, **empty, **fields)


async def prepare(users: int, jobs: int) -> list[dict[str, str]]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    found = []
    async with sessions() as opened:
        for number in range(1, users + 1):
            opened.add(User(id=number))
            await opened.flush()
            key = secrets.token_hex(32)
            opened.add(Token(digest=hashlib.sha512(key.encode()).hexdigest(), user_id=number))
            rows = [new_job(number, kind="demo.countdown", params={"seconds": 0}) for _ in range(jobs)]
            opened.add_all(rows)
            found.append({"token": key, "job": str(rows[0].id)})
        await opened.commit()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(prepare(*map(int, sys.argv[1:])))))  # noqa: T201
