"""What programs import most, loaded once for all jobs of a zygote."""

# ruff: noqa: F401
from __future__ import annotations

import abc
import argparse
import array
import ast
import base64
import bisect
import calendar
import cmath
import collections
import contextlib
import copy
import csv
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import heapq
import inspect
import io
import itertools
import json
import math
import numbers
import operator
import pprint
import queue
import random
import re
import secrets
import shutil
import statistics
import string
import struct
import subprocess
import tempfile
import textwrap
import threading
import time
import traceback
import types
import typing
import unittest
import uuid
