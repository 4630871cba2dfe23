import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("Reading options")
struct OptionReadingTests {
  let program = SimulatedProgram(memory: SimulatedMemory(byteCount: 256 * 256))

  /// Registers with options, and returns the errno.
  func register(_ options: UInt64) -> Int32 {
    program.control(
      ControlMemory(program, NETMAP_REQ_REGISTER, body: program.register(), options: options))
  }

  /// A chain of bare options of a type, and where each of them is.
  func chain(_ count: Int, _ type: Int, before last: UInt64 = 0) -> [UInt64] {
    let start = program.memory.reserve(count * 24)
    let addresses = (0..<count).map { start + UInt64($0 * 24) }
    for (index, address) in addresses.enumerated() {
      var option = nmreq_option()
      option.nro_reqtype = UInt32(type)
      option.nro_status = 0xdead
      option.nro_next = index + 1 < count ? addresses[index + 1] : last
      program.memory.put(option, at: address)
    }
    return addresses
  }

  @Test("an option whose header cannot be read gives EFAULT; the options before it get status 0")
  func unreadableHeader() {
    for missing in [8, 0 &- 23] as [UInt64] {
      let second = program.addBare(1234, before: missing)
      let first = program.addBare(1235, before: second)
      #expect(register(first) == EFAULT)
      #expect(program.status(first) == 0 && program.status(second) == 0)
      #expect(program.option(second).nro_next == missing)
    }
    #expect(program.server.log.isEmpty)
  }

  @Test("an option whose body cannot be read gives EFAULT, and status 0")
  func unreadableBody() {
    let end = program.memory.reserve(512) + 256
    program.memory.protect(end, .absent)
    // Only the header lies before the end. The last byte of the second one's body lies behind it.
    for address in [end - 24, end - 55] {
      var option = nmreq_option()
      option.nro_reqtype = UInt32(NETMAP_REQ_OPT_OFFSETS)
      option.nro_status = 0xdead
      program.memory.put(option, at: address)
      #expect(register(address) == EFAULT)
      #expect(program.status(address) == 0)
    }
    #expect(program.server.log.isEmpty)
  }

  @Test("an option's body may not wrap around the end of the address space")
  func bodyBehindTheEnd() {
    var option = nmreq_option()
    option.nro_reqtype = UInt32(NETMAP_REQ_OPT_CSB)
    program.memory.put(option, at: 0 &- 24)
    #expect(register(0 &- 24) == EFAULT)
    #expect(program.status(0 &- 24) == 0)
  }

  @Test(
    "an option of type 0 gives EINVAL and has that status; the options before it get 0, later ones stay"
  )
  func typeZero() {
    let third = program.addBare(1234)
    let second = program.addBare(0, before: third)
    let first = program.addBare(1234, before: second)
    #expect(register(first) == EINVAL)
    #expect(program.status(first) == 0)
    #expect(program.status(second) == EINVAL)
    #expect(program.status(third) == 0xdead)
    #expect(program.server.log.isEmpty)
  }

  @Test(
    "an unknown type is read as a header, whatever its size says",
    arguments: [6, 7, 1234, 0x7fff_ffff, 0xffff_ffff])
  func unknownType(type: Int) {
    let option = program.addBare(type, size: .max)
    #expect(register(option) == EOPNOTSUPP)
    #expect(program.status(option) == EOPNOTSUPP)
    #expect(program.option(option).nro_size == .max)
    #expect(program.server.log == ["register", "undo"])
  }

  @Test("an unknown type may occur twice")
  func unknownTwice() {
    let first = program.addBare(1234, before: program.addBare(1234))
    #expect(register(first) == EOPNOTSUPP)
  }

  @Test(
    "a known type that occurs twice gives EINVAL, and both options have that status",
    arguments: 1...5)
  func duplicate(type: Int) {
    func option(before next: UInt64) -> UInt64 {
      // Long enough for the body of any of them.
      program.add(nmreq_opt_extmem(), type, size: 32, before: next)
    }
    let last = program.addBare(1234)
    let second = option(before: last)
    let between = program.addBare(1234, before: second)
    let first = option(before: between)
    #expect(register(first) == EINVAL)
    #expect(program.status(first) == EINVAL && program.status(second) == EINVAL)
    #expect(program.status(between) == 0)
    #expect(program.status(last) == 0xdead)
    #expect(program.option(first).nro_next == between)
    #expect(program.server.log.isEmpty)
  }

  @Test(
    "a size above 4096 gives EMSGSIZE and status 0, also for an option with a fixed size",
    arguments: 1...5)
  func tooLong(type: Int) {
    for size: UInt64 in [4097, .max, .max - 24, 1 << 32] {
      let option = program.add(nmreq_opt_extmem(), type, size: size)
      #expect(register(option) == EMSGSIZE)
      #expect(program.status(option) == 0)
      #expect(program.option(option).nro_size == size)
    }
    #expect(program.server.log.isEmpty)
  }

  @Test("a size of 4096 is accepted for an option with a fixed size", arguments: [1, 3, 4, 5])
  func longest(type: Int) {
    let option = program.add(nmreq_opt_extmem(), type, size: 4096)
    #expect(register(option) == (type == 4 ? EOPNOTSUPP : 0))
  }

  @Test("the body of a request and all its options together have at most 4096 bytes")
  func together() {
    // 56 bytes of the request, 24 of the header, and 4016 more.
    let option = program.memory.reserve(4096)
    for (size, expected) in [(4040, EOPNOTSUPP), (4041, EMSGSIZE)] as [(UInt64, Int32)] {
      var header = nmreq_option()
      header.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
      header.nro_size = size
      program.memory.put(header, at: option)
      #expect(register(option) == expected)
    }
    // Each unknown option before it costs 24 bytes.
    let first = chain(3, 1234, before: option)[0]
    for (size, expected) in [(3968, EOPNOTSUPP), (3969, EMSGSIZE)] as [(UInt64, Int32)] {
      var header = nmreq_option()
      header.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
      header.nro_size = size
      program.memory.put(header, at: option)
      #expect(register(first) == expected)
      #expect(program.status(first) == (expected == EMSGSIZE ? 0 : EOPNOTSUPP))
      #expect(program.status(option) == (expected == EMSGSIZE ? 0 : EOPNOTSUPP))
    }
  }

  @Test("an option's body must fit what netmap's buffer has left")
  func bufferLeft() {
    // A body of 56 bytes leaves room for 4088; 100 headers and the option's own take 3232.
    let option = program.memory.reserve(1024)
    let first = chain(100, 1234, before: option)[0]
    for (size, expected) in [(24 + 856, EOPNOTSUPP), (24 + 857, EMSGSIZE)] as [(UInt64, Int32)] {
      var header = nmreq_option()
      header.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
      header.nro_size = size
      program.memory.put(header, at: option)
      #expect(register(first) == expected)
      // Headers return also with the failure.
      #expect(program.status(first) == (expected == EMSGSIZE ? 0 : EOPNOTSUPP))
    }
  }

  @Test("a register request can have 127 options without a body, and a request without a body 129")
  func many() {
    for (count, expected) in [(127, EOPNOTSUPP), (128, EMSGSIZE)] {
      let options = chain(count, 1234)
      #expect(register(options[0]) == expected)
      // One too many may mean a circle, so nothing returns.
      #expect(options.allSatisfy { program.status($0) == (count == 127 ? EOPNOTSUPP : 0xdead) })
    }
    for (count, expected) in [(129, 0), (130, EMSGSIZE)] {
      let options = chain(count, 1234)
      let request = ControlMemory(program, NETMAP_REQ_VALE_DELIF, options: options[0])
      #expect(program.control(request) == expected)
      #expect(options.allSatisfy { program.status($0) == (count == 129 ? EOPNOTSUPP : 0xdead) })
    }
  }

  @Test("options of the event descriptors may be shorter than their header")
  func shortEventDescriptors() throws {
    for size: UInt64 in [0, 1, 23, 24] {
      // Nothing lies behind the header.
      let end = program.memory.reserve(512) + 256
      program.memory.protect(end, .absent)
      var header = nmreq_option()
      header.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
      header.nro_size = size
      program.memory.put(header, at: end - 24)
      #expect(register(end - 24) == EOPNOTSUPP)
    }
    #expect(program.server.log.last == "undo")
  }

  @Test("the order of the options does not matter")
  func order() throws {
    for reversed in [false, true] {
      let server = program.server
      let types = [NETMAP_REQ_OPT_EXTMEM, NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_OFFSETS]
      var next: UInt64 = 0
      for type in reversed ? types.reversed() : types {
        next = program.add(nmreq_opt_extmem(), type, before: next)
      }
      #expect(register(next) == 0)
      let call = try #require(server.registered)
      #expect(call.externalMemory != nil && call.controlBlocks != nil && call.offsets != nil)
    }
  }
}
