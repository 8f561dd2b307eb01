"""Modbus devices that are not Bordo's: pymodbus and libmodbus (through ctypes), over TCP and on a serial line.

Units 1 and 2 hold 1000, 1001, ... at holding registers 100 to 119. Of unit 1 register 107 does not exist; unit 2 thinks for
a third of a second before each answer. libmodbus has one unit, whose registers end at 115.

    foreign.py pymodbus tcp | pymodbus drop | pymodbus /dev/pts/N | libmodbus tcp | libmodbus /dev/pts/N

Prints the port (0 on a serial line) when it is ready and serves until it is killed. "drop" closes each connection after
its second answer.
"""
import asyncio
import ctypes
import sys
import time

FIRST, COUNT = 100, 20


def pymodbus_context():
    from pymodbus.datastore import ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock

    class Slow(ModbusSparseDataBlock):
        def getValues(self, address, count=1):
            time.sleep(0.33)
            return super().getValues(address, count)

    values = {FIRST + i: 1000 + i for i in range(COUNT)}
    holed = {k: v for k, v in values.items() if k != 107}
    return ModbusServerContext(
        slaves={
            1: ModbusSlaveContext(hr=ModbusSparseDataBlock(holed), zero_mode=True),
            2: ModbusSlaveContext(hr=Slow(values), zero_mode=True),
        },
        single=False,
    )


async def pymodbus_tcp(port_ready):
    from pymodbus.server.async_io import ModbusTcpServer

    server = ModbusTcpServer(pymodbus_context(), address=("127.0.0.1", 0))
    task = asyncio.ensure_future(server.serve_forever())
    while server.server is None or not server.server.sockets:
        await asyncio.sleep(0.01)
    await port_ready(server.server.sockets[0].getsockname()[1])
    await task


async def pymodbus_drop():
    async def behind(port):
        async def proxy(reader, writer):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                request = await reader.read(260)
                if not request:
                    break
                up_writer.write(request)
                writer.write(await up_reader.read(260))
                await writer.drain()
            writer.close()
            up_writer.close()

        front = await asyncio.start_server(proxy, "127.0.0.1", 0)
        print(front.sockets[0].getsockname()[1], flush=True)
        asyncio.ensure_future(front.serve_forever())

    await pymodbus_tcp(behind)


async def pymodbus_serial(path):
    from pymodbus.server.async_io import ModbusSerialServer

    server = ModbusSerialServer(pymodbus_context(), port=path, baudrate=19200, bytesize=8, parity="N", stopbits=1)
    await server.start()
    print(0, flush=True)
    await server.serve_forever()


def libmodbus(where):
    lib = ctypes.CDLL("libmodbus.so.5", use_errno=True)

    class Mapping(ctypes.Structure):
        _fields_ = [(n, ctypes.c_int) for n in (
            "nb_bits", "start_bits", "nb_input_bits", "start_input_bits",
            "nb_input_registers", "start_input_registers", "nb_registers", "start_registers")] + [
            ("tab_bits", ctypes.POINTER(ctypes.c_uint8)), ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
            ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)), ("tab_registers", ctypes.POINTER(ctypes.c_uint16))]

    lib.modbus_new_tcp.restype = lib.modbus_new_rtu.restype = ctypes.c_void_p
    lib.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
    mapping = lib.modbus_mapping_new(0, 0, 116, 0)
    for i in range(FIRST, 116):
        mapping.contents.tab_registers[i] = 1000 + i - FIRST
    request = (ctypes.c_uint8 * 260)()
    if where == "tcp":
        import socket

        s = socket.socket()  # libmodbus cannot tell which port it was given
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        ctx = ctypes.c_void_p(lib.modbus_new_tcp(b"127.0.0.1", 0))
        print(s.getsockname()[1], flush=True)
    else:
        ctx = ctypes.c_void_p(lib.modbus_new_rtu(where.encode(), 19200, ctypes.c_char(b"N"), 8, 1))
        lib.modbus_set_slave(ctx, 1)
        if lib.modbus_connect(ctx) != 0:
            sys.exit("libmodbus cannot open " + where)
        print(0, flush=True)
    while True:
        if where == "tcp":
            fd = ctypes.c_int(s.fileno())
            if lib.modbus_tcp_accept(ctx, ctypes.byref(fd)) < 0:
                continue
        while True:
            n = lib.modbus_receive(ctx, request)
            if n > 0:
                lib.modbus_reply(ctx, request, n, mapping)
            elif n < 0 and where == "tcp":
                lib.modbus_close(ctx)
                break


kind, where = sys.argv[1:]
if kind == "libmodbus":
    libmodbus(where)
elif where == "tcp":
    async def ready(port):
        print(port, flush=True)
    asyncio.run(pymodbus_tcp(ready))
elif where == "drop":
    asyncio.run(pymodbus_drop())
else:
    asyncio.run(pymodbus_serial(where))
