import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("Register requests")
struct RegisterTests {
  let program = SimulatedProgram()

  @Test("every field of the request reaches the server")
  func fields() throws {
    let body = program.register {
      $0.nr_tx_slots = 1
      $0.nr_rx_slots = 2
      $0.nr_tx_rings = 3
      $0.nr_rx_rings = 4
      $0.nr_host_tx_rings = 5
      $0.nr_host_rx_rings = 6
      $0.nr_mem_id = 7
      $0.nr_ringid = 8
      $0.nr_mode = UInt32(NR_REG_ONE_NIC)
      $0.nr_extra_bufs = .max
      $0.nr_flags = UInt64(NR_EXCLUSIVE | NR_NO_TX_POLL)
    }
    #expect(
      program.control(ControlMemory(program, NETMAP_REQ_REGISTER, "vale1:b{x", body: body)) == 0)
    let call = try #require(program.server.registered)
    #expect(call.name.description == "vale1:b{x")
    let (binding, hints) = (call.binding, call.binding.hints)
    #expect(hints.transmitSlots == 1 && hints.receiveSlots == 2)
    #expect(hints.transmitRings == 3 && hints.receiveRings == 4)
    #expect(hints.hostTransmitRings == 5 && hints.hostReceiveRings == 6)
    #expect(binding.memoryID == 7 && binding.ringID == 8 && binding.mode == 4)
    #expect(binding.extraBuffers == .max)
    #expect(binding.flags == [.exclusive, .noTransmitPoll])
    #expect(call.externalMemory == nil && call.offsets == nil && call.controlBlocks == nil)
  }

  @Test("the answer returns in the body; mode, ring number, flags and padding stay")
  func answer() {
    let body = program.register {
      $0.nr_mode = 4
      $0.nr_ringid = 9
      $0.nr_flags = UInt64(NR_EXCLUSIVE) | 0x1000 | 1 << 62
    }
    program.memory.put(UInt32(0x1234_5678), at: body + 44)
    #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == 0)
    let after: nmreq_register = program.memory.get(at: body)
    #expect(after.nr_offset == 0x1_0000_0040 && after.nr_memsize == 0x2_0003_0000)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12)
    #expect(after.nr_host_tx_rings == 13 && after.nr_host_rx_rings == 14)
    #expect(after.nr_mem_id == 77 && after.nr_extra_bufs == 33)
    #expect(after.nr_mode == 4 && after.nr_ringid == 9)
    #expect(after.nr_flags == UInt64(NR_EXCLUSIVE) | 0x1000 | 1 << 62)
    #expect(program.memory.get(UInt32.self, at: body + 44) == 0x1234_5678)
  }

  @Test("unknown bits of nr_flags do not reach the server, known ones do")
  func flags() throws {
    let known: UInt64 = 0x3ef00
    for flags: UInt64 in [.max, 0x1000, 1 << 60, 0xff, known] {
      let body = program.register { $0.nr_flags = flags }
      #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == 0)
      #expect(program.server.registered?.binding.flags.rawValue == flags & known)
    }
  }

  @Test("a mode or a ring number that does not exist is the server's to refuse")
  func mode() {
    let body = program.register {
      $0.nr_mode = 0xffff_ffff
      $0.nr_ringid = 0xffff
    }
    #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == 0)
    #expect(program.server.registered?.binding.mode == 0xffff_ffff)
    #expect(program.server.registered?.binding.ringID == 0xffff)
  }

  @Test("a zero-copy monitor returns with both directions, unless the mode is null")
  func zeroCopyMonitor() {
    for (mode, flags, expected) in [
      (1, NR_ZCOPY_MON, NR_ZCOPY_MON | NR_MONITOR_TX | NR_MONITOR_RX),
      (1, NR_ZCOPY_MON | NR_MONITOR_RX, NR_ZCOPY_MON | NR_MONITOR_TX | NR_MONITOR_RX),
      (1, NR_MONITOR_RX, NR_MONITOR_RX), (NR_REG_NULL, NR_ZCOPY_MON, NR_ZCOPY_MON),
    ] {
      let body = program.register {
        $0.nr_mode = UInt32(mode)
        $0.nr_flags = UInt64(flags) | 1 << 40
      }
      #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == 0)
      let after: nmreq_register = program.memory.get(at: body)
      #expect(after.nr_flags == UInt64(expected) | 1 << 40)
    }
  }

  @Test("a refused monitor's flags stay")
  func refusedMonitor() {
    program.server.refusal = .unsupported
    let body = program.register { $0.nr_flags = UInt64(NR_ZCOPY_MON) }
    #expect(program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: body)) == EOPNOTSUPP)
    #expect(program.memory.get(nmreq_register.self, at: body).nr_flags == UInt64(NR_ZCOPY_MON))
    #expect(program.server.log == ["register"])
  }

  @Test("a refusal by the server goes before unrecognized options")
  func refusalFirst() {
    program.server.refusal = RequestErrno(rawValue: ENXIO)
    let request = ControlMemory(
      program, NETMAP_REQ_REGISTER, body: program.register(), options: program.addBare(1234))
    #expect(program.control(request) == ENXIO)
    #expect(program.server.log == ["register"])
  }

  @Test("a server sees whether options are left that it has not used")
  func unusedOptions() throws {
    for type in [
      NETMAP_REQ_OPT_EXTMEM, NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_OFFSETS,
      NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, 1234,
    ] {
      let option = program.add(nmreq_opt_extmem(), type, size: 32)
      let request = ControlMemory(
        program, NETMAP_REQ_REGISTER, body: program.register(), options: option)
      program.control(request)
      var call = try #require(program.server.registered)
      #expect(call.hasUnusedOptions)
      call.externalMemory?.status = .accepted
      call.offsets?.status = .refused(.invalidArgument)
      call.controlBlocks?.status = .accepted
      let isForeign = [2, 4, 1234].contains(type)
      #expect(call.hasForeignOptions == isForeign && call.hasUnusedOptions == isForeign)
    }
    program.control(ControlMemory(program, NETMAP_REQ_REGISTER, body: program.register()))
    #expect(program.server.registered?.hasUnusedOptions == false)
  }

  @Test("control blocks reach the server as addresses, which nobody has looked at")
  func controlBlocks() throws {
    var option = nmreq_opt_csb()
    option.csb_atok = 0x10
    option.csb_ktoa = 0x800
    let address = program.add(option, NETMAP_REQ_OPT_CSB)
    let request = ControlMemory(
      program, NETMAP_REQ_REGISTER, body: program.register(), options: address)
    #expect(program.control(request) == 0)
    let blocks = try #require(program.server.registered?.controlBlocks)
    #expect(blocks.applicationToEngine == 0x10 && blocks.engineToApplication == 0x800)
    #expect(program.status(address) == 0)
  }
}
