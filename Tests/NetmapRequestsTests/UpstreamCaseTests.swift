import CNetmap
import Glibc
import NetmapRequests
import Testing

/// What netmap's own test of its control interface expects of this layer.
@Suite("Cases of netmap's own test")
struct UpstreamCaseTests {
  let program = SimulatedProgram()

  func register(_ options: UInt64) -> Int32 {
    program.control(
      ControlMemory(program, NETMAP_REQ_REGISTER, body: program.register(), options: options))
  }

  @Test("an option of type 1234 is refused by its status, and the rest of it stays")
  func unsupportedOption() {
    let option = program.addBare(1234)
    var expected = program.option(option)
    #expect(register(option) == EOPNOTSUPP)
    expected.nro_status = UInt32(EOPNOTSUPP)
    let after = program.option(option)
    #expect(after.nro_next == expected.nro_next && after.nro_reqtype == expected.nro_reqtype)
    #expect(after.nro_status == expected.nro_status && after.nro_size == expected.nro_size)
  }

  @Test("an unknown option that is its own successor gives EMSGSIZE")
  func circleOfAnUnknownOption() {
    let option = program.addBare(NETMAP_REQ_OPT_MAX + 1)
    program.memory.put(option, at: option)
    #expect(register(option) == EMSGSIZE)
    #expect(program.option(option).nro_next == option && program.status(option) == 0xdead)
    #expect(program.server.log.isEmpty)
  }

  @Test("a known option that is its own successor gives EINVAL, as a duplicate")
  func circleOfAKnownOption() {
    let option = program.add(nmreq_opt_offsets(), NETMAP_REQ_OPT_OFFSETS)
    program.memory.put(option, at: option)
    #expect(register(option) == EINVAL)
    #expect(program.option(option).nro_next == option && program.status(option) == EINVAL)
    #expect(program.server.log.isEmpty)
  }

  @Test("a circle of two unknown options gives EMSGSIZE")
  func circleOfTwo() {
    let second = program.addBare(1234)
    let first = program.addBare(1234, before: second)
    program.memory.put(first, at: second)
    #expect(register(first) == EMSGSIZE)
    #expect(program.status(first) == 0xdead && program.status(second) == 0xdead)
  }

  @Test("99 unknown options and then a known one of 1000 bytes give EMSGSIZE")
  func manyOptions() {
    let options = program.memory.reserve(100 * 24)
    for index in 0..<100 as Range<UInt64> {
      var option = nmreq_option()
      option.nro_reqtype = UInt32(NETMAP_REQ_OPT_MAX)
      option.nro_next = options + (index + 1) * 24
      if index == 99 {
        option.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
        option.nro_next = 0
        option.nro_size = 1000
      }
      program.memory.put(option, at: options + index * 24)
    }
    #expect(register(options) == EMSGSIZE)
    #expect(program.server.log.isEmpty)
  }

  @Test("two options of external memory are both refused, and stay otherwise")
  func duplicateExternalMemory() {
    var option = nmreq_opt_extmem()
    option.nro_usrptr = 0x10_0000
    option.nro_info.nr_memsize = 8_423_424
    let second = program.add(option, NETMAP_REQ_OPT_EXTMEM)
    let first = program.add(option, NETMAP_REQ_OPT_EXTMEM, before: second)
    #expect(register(first) == EINVAL)
    for (address, next) in [(first, second), (second, 0)] {
      let after: nmreq_opt_extmem = program.memory.get(at: address)
      #expect(after.nro_opt.nro_status == UInt32(EINVAL) && after.nro_opt.nro_next == next)
      #expect(after.nro_usrptr == 0x10_0000 && after.nro_info.nr_memsize == 8_423_424)
      #expect(after.nro_info.nr_buf_pool_objtotal == 0)
    }
  }

  @Test("external memory that the server accepts returns with status 0")
  func externalMemory() {
    let option = program.add(nmreq_opt_extmem(), NETMAP_REQ_OPT_EXTMEM)
    #expect(register(option) == 0)
    #expect(program.status(option) == 0)
  }

  @Test("external memory that the server refuses returns with the reason")
  func badExternalMemory() {
    program.server.refusal = .outOfMemory
    program.server.status = .refused(.outOfMemory)
    let option = program.add(nmreq_opt_extmem(), NETMAP_REQ_OPT_EXTMEM)
    #expect(register(option) == ENOMEM)
    #expect(program.status(option) == ENOMEM)
  }

  @Test("DELIF takes a null body")
  func removeWithNullBody() {
    #expect(program.control(ControlMemory(program, NETMAP_REQ_VALE_DELIF, "per4", body: 0)) == 0)
  }

  @Test(
    "legacy requests of versions 14, 15 and 16 bind with the mode of their flags",
    arguments: [
      (14, NR_REG_DEFAULT, NR_REG_ALL_NIC), (14, NR_REG_ALL_NIC, NR_REG_ALL_NIC),
      (15, NR_REG_ALL_NIC, NR_REG_ALL_NIC), (14, NR_REG_SW, NR_REG_SW),
      (16, NR_REG_NIC_SW, NR_REG_NIC_SW),
    ] as [(UInt32, Int, Int)])
  func legacyVersions(version: UInt32, mode: Int, expected: Int) throws {
    let request = program.legacy("tap0") {
      $0.nr_version = version
      $0.nr_flags = UInt32(mode)
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    #expect(program.server.registered?.binding.mode == UInt32(expected))
    let after: nmreq = program.memory.get(at: request)
    #expect(after.nr_flags == UInt32(mode) && after.nr_ringid == 0)
  }

  @Test(
    "legacy requests for extra buffers name a port and pipes on it",
    arguments: [
      ("tap0", 20, "tap0"), ("tap0{pipeexbuf", 58, "tap0{pipeexbuf"),
      ("valeX1:Y4{pipeexbuf", 58, "valeX1:Y4{pipee"),
    ] as [(String, UInt32, String)])
  func legacyExtraBuffers(name: String, count: UInt32, cut: String) throws {
    let request = program.legacy(name) {
      $0.nr_flags = UInt32(NR_REG_ALL_NIC)
      $0.nr_arg3 = count
    }
    program.server.registerAnswer.extraBuffers = count
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    #expect(program.server.registered?.name.description == cut)
    #expect(program.server.registered?.binding.extraBuffers == count)
    #expect(program.memory.get(nmreq.self, at: request).nr_arg3 == count)
  }
}
