"""Scripts that look at their surroundings, or end in one of the ways that a process can."""

SCRIPTS = {
    "exit code": "import sys; sys.exit(3)",
    "exit code that wraps": "import sys; sys.exit(300)",
    "negative exit code": "import sys; sys.exit(-1)",
    "exit with a text": "import sys; print('a', end=''); sys.exit('a text')",
    "exit without a value": "import sys; sys.exit()",
    "exception": "def f():\n    raise ValueError('why')\nf()",
    "chained exception": (
        "try:\n    1 / 0\nexcept ArithmeticError as e:\n    raise KeyError('k') from e"
    ),
    "exception in a module": "import json\njson.loads('{')",
    "exception group": "raise ExceptionGroup('many', [ValueError(1), TypeError(2)])",
    "excepthook": (
        "import sys\nsys.excepthook = lambda *a: print('hook', a[0])\nraise ValueError(1)"
    ),
    "exception with a note": "e = ValueError('v')\ne.add_note('a note')\nraise e",
    "syntax error": "def (",
    "interrupt": "raise KeyboardInterrupt",
    "os._exit": "import os\nprint('before')\nos._exit(7)",
    "own SIGKILL": "import os, signal\nprint('x')\nos.kill(os.getpid(), signal.SIGKILL)",
    "own SIGTERM": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "segmentation fault": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "output without line end": "import sys; sys.stdout.write('no end')",
    "both outputs in order": (
        "import sys\nfor n in range(9):\n    print(n, file=[sys.stdout, sys.stderr][n % 2])"
    ),
    "5 MB of output": "print('0123456789' * 500_000)",
    "any character": "print('é€\\U0001f600\\x00')",
    "what cannot be written": "print('\\udc80')",
    "bytes and descriptors": (
        "import os, sys\nsys.stdout.buffer.write(b'\\xff')\nos.write(1, b'direct')"
    ),
    "arguments": "import sys; print(sys.argv, sys.orig_argv[1:] and 'some')",
    "environment": (
        "import os\nfor k in sorted(os.environ):\n"
        "    k in ('_', 'SHLVL', 'PWD', 'OLDPWD') or print(k, os.environ[k])\n"
        "os.system('echo $WORD')"
    ),
    "folder and path": "import os, sys; print(os.getcwd(), sys.path, __file__)",
    "standard input": "import sys; print(repr(sys.stdin.read()), sys.stdin.isatty())",
    "streams": (
        "import sys\nfor s in (sys.stdout, sys.stderr):\n"
        "    print(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through)"
    ),
    "main module": (
        "import sys\nm = sys.modules['__main__']\nX = 1\n"
        "print(m.X, __name__, __spec__, __package__, __doc__, __cached__, type(__loader__))\n"
        "print(sorted(vars()))"
    ),
    "annotations and builtins": "x: int = 1\nprint(__annotations__, __builtins__)",
    "future statement": "from __future__ import annotations\nx: y = 1\nprint(__annotations__)",
    "source encoding": "# -*- coding: latin-1 -*-\nprint('a')",
    "signals": (
        "import signal\nfor n in ('INT', 'TERM', 'CHLD', 'PIPE', 'HUP', 'XFSZ'):\n"
        "    print(n, signal.getsignal(getattr(signal, 'SIG' + n)))\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1))"
    ),
    "descriptors": "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])",
    "process group": "import os; print(os.getpid() == os.getpgid(0) == os.getsid(0))",
    "file mode": "import os; print(oct(os.umask(0)))",
    "thread that still runs": (
        "import threading, time\n"
        "def f():\n    time.sleep(0.3)\n    print('late', __name__, X)\n"
        "threading.Thread(target=f).start()\nX = 1\nprint('end')"
    ),
    "daemon thread": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[60], daemon=True).start()\nprint('end')"
    ),
    "exception in a thread": (
        "import threading\nthreading.Thread(target=lambda: 1 / 0, name='t').start()"
    ),
    "exit handlers": (
        "import atexit\natexit.register(print, 'first')\natexit.register(print, 'last')\n"
        "def bad():\n    raise ValueError('in a handler')\natexit.register(bad)\nprint('end')"
    ),
    "exit handlers after a failure": (
        "import atexit\natexit.register(print, 'bye')\nraise ValueError(1)"
    ),
    "exit in an exit handler": (
        "import atexit, os\natexit.register(os._exit, 9)\nraise ValueError(1)"
    ),
    "forked child that ends by itself": (
        "import os, sys\npid = os.fork()\nif not pid:\n    sys.exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\nsys.exit(6)"
    ),
    "buffered output of its own": (
        "import sys\nsys.stdout = open(1, 'w', closefd=False)\nprint('x')"
    ),
    "output of a C library": "import ctypes\nctypes.CDLL(None).printf(b'from C')",
    "objects that end last": "class C:\n    def __del__(self):\n        print('deleted')\nc = C()",
    "a file that nobody closes": (
        "import atexit, os\nf = open('open.txt', 'w')\nf.write('all of it')\n"
        "os.path.getsize('open.txt') and print('early')"
    ),
    "logging": (
        "import logging\nlogging.basicConfig(level=logging.INFO)\nlogging.info('told')\n"
        "logging.getLogger('x').warning('twice')\nlogging.shutdown()"
    ),
    "warnings": "import warnings\nwarnings.warn('careful')",
    "subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(1)'])",
    "asyncio": (
        "import asyncio\nasync def f():\n"
        "    p = await asyncio.create_subprocess_exec('true')\n    print(await p.wait())\n"
        "asyncio.run(f())"
    ),
    **{
        f"multiprocessing by {method}": (
            "import multiprocessing as m\n"
            "def double(x):\n    return 2 * x\n"
            "if __name__ == '__main__':\n"
            f"    with m.get_context('{method}').Pool(2) as pool:\n"
            "        print(pool.map(double, [1, 2, 3]))"
        )
        for method in ("fork", "spawn", "forkserver")
    },
}

GRANDCHILDREN = (
    "import os, subprocess, sys, time\n"
    "a = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "b = os.fork()\n"
    "if not b:\n    time.sleep(600)\n"
    "print(os.getpid(), a.pid, b, 'ready')\ntime.sleep(600)"
)
