import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("Legacy requests that bind")
struct LegacyRegisterTests {
  let program = SimulatedProgram()

  func register(
    _ name: String = "eth0", _ edit: (inout nmreq) -> Void = { _ in }
  ) throws -> RegisterCall {
    let request = program.legacy(name, 0, edit)
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    return try #require(program.server.registered)
  }

  @Test("a mode in nr_flags goes before the bits of nr_ringid")
  func modeInFlags() throws {
    for mode in [NR_REG_ALL_NIC, NR_REG_SW, NR_REG_NIC_SW, NR_REG_ONE_NIC, NR_REG_NULL, 8, 15] {
      let call = try register {
        $0.nr_flags = UInt32(mode)
        $0.nr_ringid = UInt16(NETMAP_SW_RING | NETMAP_HW_RING | 5)
      }
      #expect(call.binding.mode == UInt32(mode) && call.binding.ringID == 5)
    }
  }

  @Test(
    "without a mode, bits of nr_ringid select the rings",
    arguments: [
      (0, NR_REG_ALL_NIC, 0), (NETMAP_SW_RING, NR_REG_SW, 0),
      (NETMAP_HW_RING | 3, NR_REG_ONE_NIC, 3), (NETMAP_SW_RING | NETMAP_HW_RING, NR_REG_SW, 0),
      (0xfff, NR_REG_ALL_NIC, 0xfff),
    ] as [(Int32, Int, UInt16)])
  func modeInRing(ring: Int32, mode: Int, number: UInt16) throws {
    let call = try register { $0.nr_ringid = UInt16(ring) }
    #expect(call.binding.mode == UInt32(mode) && call.binding.ringID == number)
    #expect(call.binding.flags == [])
  }

  @Test("bits about polling move from nr_ringid to the flags, and known flags stay")
  func flags() throws {
    let call = try register {
      $0.nr_ringid = UInt16(NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL | 2)
      $0.nr_flags = 0xffc0_0000 | UInt32(NR_EXCLUSIVE) | UInt32(NR_REG_ONE_NIC) | 0xf0
    }
    #expect(call.binding.ringID == 2)
    #expect(call.binding.flags == [.exclusive, .noTransmitPoll, .doReceivePoll])
    #expect(
      try register { $0.nr_ringid = UInt16(NETMAP_NO_TX_POLL) }.binding.flags == .noTransmitPoll)
    #expect(
      try register { $0.nr_ringid = UInt16(NETMAP_DO_RX_POLL) }.binding.flags == .doReceivePoll)
  }

  @Test(
    "counts, the region in nr_arg2 and extra buffers in nr_arg3 reach the server; host rings are 0")
  func fields() throws {
    let call = try register {
      $0.nr_tx_slots = 1
      $0.nr_rx_slots = 2
      $0.nr_tx_rings = 3
      $0.nr_rx_rings = 4
      $0.nr_arg1 = 99
      $0.nr_arg2 = 5
      $0.nr_arg3 = 6
    }
    let hints = call.binding.hints
    #expect(hints.transmitSlots == 1 && hints.receiveSlots == 2)
    #expect(hints.transmitRings == 3 && hints.receiveRings == 4)
    #expect(hints.hostTransmitRings == 0 && hints.hostReceiveRings == 0)
    #expect(call.binding.memoryID == 5 && call.binding.extraBuffers == 6)
    #expect(call.externalMemory == nil && call.offsets == nil && call.controlBlocks == nil)
  }

  @Test(
    "offset and size return in 32 bits, with counts, region and extra buffers; nothing else returns"
  )
  func answer() {
    let request = program.legacy("eth0") {
      $0.nr_ringid = 0x5003
      $0.nr_flags = UInt32(NR_ZCOPY_MON) | UInt32(NR_REG_ONE_NIC)
      $0.nr_arg1 = 9
      $0.spare2 = 0x1234
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    let after: nmreq = program.memory.get(at: request)
    #expect(after.nr_offset == 0x40 && after.nr_memsize == 0x3_0000)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12)
    #expect(after.nr_arg2 == 77 && after.nr_arg3 == 33)
    #expect(after.nr_ringid == 0x5003 && after.nr_arg1 == 9 && after.nr_cmd == 0)
    #expect(after.nr_flags == UInt32(NR_ZCOPY_MON) | UInt32(NR_REG_ONE_NIC))
    #expect(after.spare2 == 0x1234 && after.nr_version == 14)
  }

  @Test(
    "the pipe modes become a name and all rings",
    arguments: [
      (NR_REG_PIPE_MASTER, 0, "eth0{0"), (NR_REG_PIPE_SLAVE, 7, "eth0}7"),
      (NR_REG_PIPE_MASTER, 0xfff, "eth0{4095"), (NR_REG_PIPE_SLAVE, 0x5fff, "eth0}4095"),
    ])
  func pipes(mode: Int, ring: Int, name: String) throws {
    let call = try register {
      $0.nr_flags = UInt32(mode) | UInt32(NR_EXCLUSIVE)
      $0.nr_ringid = UInt16(ring)
    }
    #expect(call.name.description == name)
    #expect(call.binding.mode == UInt32(NR_REG_ALL_NIC) && call.binding.ringID == 0)
    #expect(call.binding.flags.contains(.exclusive))
    #expect(call.binding.flags.contains(.noTransmitPoll) == (ring & 0x1000 != 0))
  }

  @Test("the longest name and the longest pipe number fit; the program's name does not change")
  func longestPipe() throws {
    let request = program.legacy("0123456789abcdefgh") {
      $0.nr_flags = UInt32(NR_REG_PIPE_MASTER)
      $0.nr_ringid = 0xfff
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    #expect(program.server.registered?.name.description == "0123456789abcde{4095")
    #expect(program.memory.bytesAt(request, 16) == Array("0123456789abcde".utf8) + [0])
  }

  @Test("a name with a bracket is a pipe as it stands, also with a mode")
  func pipeName() throws {
    let call = try register("valeX1:Y4{pipeexbuf") { $0.nr_flags = UInt32(NR_REG_ALL_NIC) }
    #expect(call.name.description == "valeX1:Y4{pipee")
  }

  @Test(
    "ATTACH takes its mode from nr_arg1",
    arguments: [
      (0, NR_REG_ALL_NIC), (1, NR_REG_NIC_SW), (2, NR_REG_ALL_NIC), (3, NR_REG_NIC_SW),
    ] as [(UInt16, Int)])
  func attach(argument: UInt16, mode: Int) throws {
    let request = program.legacy("vale0:eth0", NETMAP_BDG_ATTACH) {
      $0.nr_arg1 = argument
      $0.nr_arg2 = 4
      $0.nr_arg3 = 5
      $0.nr_flags = UInt32(NR_REG_ONE_NIC)
      $0.nr_ringid = 2
      $0.nr_tx_slots = 512
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    let call = try #require(program.server.attached)
    #expect(call.name.description == "vale0:eth0")
    #expect(call.binding.mode == UInt32(mode) && call.binding.ringID == 2)
    #expect(call.binding.memoryID == 4 && call.binding.extraBuffers == 5)
    #expect(call.binding.hints.transmitSlots == 512)
    let after: nmreq = program.memory.get(at: request)
    #expect(after.nr_arg1 == argument && after.nr_arg2 == 80 && after.nr_arg3 == 5)
    #expect(after.nr_tx_slots == 512)
  }

  @Test("ATTACH with a pipe mode names a pipe, and still takes its mode from nr_arg1")
  func attachPipe() throws {
    let request = program.legacy("vale0:eth0", NETMAP_BDG_ATTACH) {
      $0.nr_flags = UInt32(NR_REG_PIPE_SLAVE)
      $0.nr_ringid = 2
      $0.nr_arg1 = 1
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    let call = try #require(program.server.attached)
    #expect(call.name.description == "vale0:eth0}2")
    #expect(call.binding.mode == UInt32(NR_REG_NIC_SW) && call.binding.ringID == 0)
  }

  @Test("a refusal to bind is the result, and nothing is undone")
  func refused() {
    program.server.refusal = RequestErrno(rawValue: EBUSY)
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, program.legacy("eth0")) == EBUSY)
    #expect(program.server.log == ["register"])
  }
}
