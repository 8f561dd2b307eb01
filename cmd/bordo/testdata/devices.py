"""Two Modbus devices of another make than Bordo: an inverter with a SunSpec map over Modbus TCP, and an SDM630 whose RTU
frames travel through TCP. Prints the two ports and then serves until it is killed.

The registers are packed here, from the published maps, with struct: nothing of Bordo's has a part in it.
"""
import asyncio
import struct

from pymodbus.datastore import ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock
from pymodbus.server.async_io import ModbusTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer


def text(s, registers):
    b = s.encode("ascii").ljust(2 * registers, b"\0")
    return list(struct.unpack(">%dH" % registers, b))


def u16(n):
    return [n & 0xFFFF]


def u32(n):
    return list(struct.unpack(">HH", struct.pack(">I", n & 0xFFFFFFFF)))


def f32(x):
    return list(struct.unpack(">HH", struct.pack(">f", x)))


def sunspec():
    common = text("Altra Marca", 16) + text("AM-20K", 16) + text("", 8) + text("3.21", 8) + text("SN000123", 16) + u16(1) + [0x8000]
    unknown = [0x1234] * 6  # a vendor's model that a reader has to step over
    inverter = (
        u16(412) + u16(137) + u16(138) + u16(137) + u16(-1)  # A, AphA..C, A_SF: 41.2 A
        + u16(4002) + u16(4005) + u16(3998) + u16(2310) + u16(2312) + u16(2308) + u16(-1)  # voltages, V_SF
        + u16(951) + u16(1)  # W, W_SF: 9510 W
        + u16(4998) + u16(-2)  # Hz: 49.98
        + u16(9530) + u16(0)  # VA
        + u16(-310) + u16(0)  # VAr
        + u16(998) + u16(-1)  # PF: 99.8 %
        + u32(123456789) + u16(0)  # WH: 123456.789 kWh
        + u16(0xFFFF) + [0x8000]  # DCA not implemented
        + u16(6120) + u16(-1)  # DCV
        + u16(9712) + u16(0)  # DCW
        + u16(415) + [0x8000] * 3 + u16(-1)  # TmpCab 41.5, others not implemented
        + u16(4) + u16(0xFFFF)  # St: MPPT
        + u32(0) + u32(0) + u32(0xFFFFFFFF) * 4
    )
    assert len(common) == 66 and len(inverter) == 50
    chain = [0x5375, 0x6E53] + u16(1) + u16(66) + common + u16(64001) + u16(len(unknown)) + unknown + u16(103) + u16(50) + inverter + [0xFFFF, 0]
    return ModbusSlaveContext(hr=ModbusSparseDataBlock({40000: chain}), zero_mode=True)


SDM630 = {
    0x0000: 230.2, 0x0002: 229.7, 0x0004: 231.1,
    0x0006: 5.25, 0x0008: 4.5, 0x000A: 6.75,
    0x000C: 1205.5, 0x000E: 1030.25, 0x0010: 1555.0,
    0x0034: 3790.75, 0x0038: 3812.5, 0x003C: -402.25, 0x003E: 0.994,
    0x0046: 50.02, 0x0048: 10234.56, 0x004A: 987.65, 0x004C: 120.5, 0x004E: 33.25,
}


def sdm630():
    registers = [0] * 0x0200
    for at, value in SDM630.items():
        registers[at:at + 2] = f32(value)
    holding = {0xFC00: u32(22041234) + u16(0x0070)}
    return ModbusSlaveContext(ir=ModbusSparseDataBlock({0: registers}), hr=ModbusSparseDataBlock(holding), zero_mode=True)


async def serve(context, framer, name):
    server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", 0), allow_reuse_address=True)
    task = asyncio.ensure_future(server.serve_forever())
    while server.server is None or not server.server.sockets:
        await asyncio.sleep(0.01)
    print(name, server.server.sockets[0].getsockname()[1], flush=True)
    await task


async def main():
    await asyncio.gather(
        serve(ModbusServerContext(slaves={1: sunspec()}, single=False), ModbusSocketFramer, "sunspec"),
        serve(ModbusServerContext(slaves={3: sdm630()}, single=False), ModbusRtuFramer, "sdm630"),
    )


if __name__ == "__main__":
    asyncio.run(main())
