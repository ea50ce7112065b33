"""The quick start's controller with ``imap``: packets in order, as they are done."""

from achilles.lineReceiver.achilles_main import imap


def achilles_function(arg):
    return arg**2


def achilles_callback(result):
    return result**2


if __name__ == "__main__":
    for result in imap(
        achilles_function,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        achilles_callback,
        chunksize=1,
        host="127.0.0.1",
        port=9999,
        username="foo",
        secret_key="bar",
    ):
        print(result)
