import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("What returns in options")
struct OptionCopyBackTests {
  let program = SimulatedProgram()

  func register(_ options: UInt64) -> Int32 {
    program.control(
      ControlMemory(program, NETMAP_REQ_REGISTER, body: program.register(), options: options))
  }

  func offsets(before next: UInt64 = 0) -> UInt64 {
    var option = nmreq_opt_offsets()
    option.nro_max_offset = 32
    option.nro_initial_offset = 16
    option.nro_offset_bits = 12
    option.nro_tx_align = 4
    option.nro_min_gap = 8
    return program.add(option, NETMAP_REQ_OPT_OFFSETS, size: 9, before: next)
  }

  func maximum(_ option: UInt64) -> UInt64 {
    program.memory.get(nmreq_opt_offsets.self, at: option).nro_max_offset
  }

  @Test("an option that was applied returns with status 0 and its body; the rest of it stays")
  func applied() throws {
    let option = offsets()
    #expect(register(option) == 0)
    let after: nmreq_opt_offsets = program.memory.get(at: option)
    #expect(after.nro_opt.nro_status == 0 && after.nro_opt.nro_size == 9)
    #expect(after.nro_max_offset == 64)
    #expect(after.nro_initial_offset == 16 && after.nro_offset_bits == 12)
    #expect(after.nro_tx_align == 4 && after.nro_min_gap == 8)
    let call = try #require(program.server.registered?.offsets)
    #expect(call.maximum == 32 && call.initial == 16 && call.bits == 12)
    #expect(call.transmitAlignment == 4 && call.minimumGap == 8)
  }

  @Test("the pools of external memory return with the defaults that the server has used")
  func externalMemory() throws {
    var option = nmreq_opt_extmem()
    option.nro_usrptr = 0x7000_0000
    option.nro_info.nr_memsize = 8 << 20
    option.nro_info.nr_buf_pool_objsize = 4096
    option.nro_info.pad1 = (1, 2, 3)
    let address = program.add(option, NETMAP_REQ_OPT_EXTMEM)
    #expect(register(address) == 0)
    let call = try #require(program.server.registered?.externalMemory)
    #expect(call.address == 0x7000_0000 && call.pools.memorySize == 8 << 20)
    #expect(call.pools.buffers.objectSize == 4096 && call.pools.rings.objectCount == 0)
    let info = program.memory.get(nmreq_opt_extmem.self, at: address).nro_info
    #expect(info.nr_if_pool_objtotal == 100 && info.nr_if_pool_objsize == 1024)
    #expect(info.nr_ring_pool_objtotal == 200 && info.nr_ring_pool_objsize == 36864)
    #expect(info.nr_buf_pool_objtotal == 16384 && info.nr_buf_pool_objsize == 2048)
    #expect(info.nr_memsize == 0x5_0006_0000 && info.nr_mem_id == 79)
    #expect(info.nr_buf_pool_offset == 0x7_0000_0000)
    #expect(info.pad1 == (1, 2, 3))
  }

  @Test("a refused request returns the statuses that the server has set, and no body")
  func refused() {
    program.server.refusal = RequestErrno(rawValue: EBUSY)
    program.server.status = .refused(RequestErrno(rawValue: ENOMEM))
    let option = offsets()
    #expect(register(option) == EBUSY)
    #expect(program.status(option) == ENOMEM)
    #expect(maximum(option) == 32)
  }

  @Test(
    "an option that the server has accepted returns status 0 and no body if the request fails later"
  )
  func acceptedButRefused() {
    program.server.refusal = RequestErrno(rawValue: ENXIO)
    let option = offsets()
    #expect(register(option) == ENXIO)
    #expect(program.status(option) == 0 && maximum(option) == 32)
  }

  @Test("a request that fails before it comes to an option leaves that one with EOPNOTSUPP")
  func notReached() {
    program.server.refusal = RequestErrno(rawValue: EBUSY)
    program.server.recognized = []
    let option = offsets()
    #expect(register(option) == EBUSY)
    #expect(program.status(option) == EOPNOTSUPP)
    #expect(program.server.log == ["register"])
  }

  @Test(
    "an option that the server leaves alone undoes the binding and gives EOPNOTSUPP",
    arguments: [
      NETMAP_REQ_OPT_EXTMEM, NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_OFFSETS,
      NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, 1234,
    ])
  func leftAlone(type: Int) {
    program.server.recognized = type == NETMAP_REQ_OPT_OFFSETS ? [] : .offsets
    let other = type == NETMAP_REQ_OPT_OFFSETS ? 0 : offsets()
    let option = program.add(nmreq_opt_extmem(), type, size: 32, before: other)
    let body = program.register { $0.nr_memsize = 5 }
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: body, options: option)
    #expect(program.control(request) == EOPNOTSUPP)
    #expect(program.server.log == ["register", "undo"])
    #expect(program.status(option) == EOPNOTSUPP)
    #expect(program.memory.get(nmreq_register.self, at: body).nr_memsize == 5)
    if other != 0 { #expect(program.status(other) == 0 && maximum(other) == 32) }
  }

  @Test("another request than register ignores options, which return with EOPNOTSUPP and no body")
  func ignored() {
    let offsets = offsets()
    let option = program.addBare(1234, before: offsets)
    let body = program.memory.add(nmreq_port_info_get())
    let request = ControlMemory(program, NETMAP_REQ_PORT_INFO_GET, body: body, options: option)
    let copies = program.memory.copiesOut.count
    #expect(program.control(request) == 0)
    #expect(program.status(option) == EOPNOTSUPP && program.status(offsets) == EOPNOTSUPP)
    // The body, two headers of options, the header.
    #expect(program.memory.copiesOut.count - copies == 4)
  }

  @Test("an option that cannot be written gives EFAULT, and the options behind it stay")
  func unwritableHeader() {
    let last = program.addBare(1234)
    let middle = program.addBare(1234, before: last)
    let first = program.addBare(1234, before: middle)
    program.memory.protect(middle, .readOnly)
    let request = ControlMemory(program, NETMAP_REQ_VALE_DELIF, options: first)
    #expect(program.control(request) == EFAULT)
    #expect(program.server.log == ["remove"])
    #expect(program.status(first) == EOPNOTSUPP)
    #expect(program.status(last) == 0xdead)
  }

  @Test("an option whose body cannot be written gives EFAULT, and the options behind it stay")
  func unwritableOptionBody() {
    program.server.recognized = .all
    let last = program.add(nmreq_opt_csb(), NETMAP_REQ_OPT_CSB)
    let end = program.memory.reserve(512) + 256
    program.memory.protect(end, .readOnly)
    var header = nmreq_option()
    header.nro_reqtype = UInt32(NETMAP_REQ_OPT_OFFSETS)
    header.nro_next = last
    header.nro_status = 0xdead
    program.memory.put(header, at: end - 24)
    #expect(register(end - 24) == EFAULT)
    #expect(program.status(end - 24) == 0)
    #expect(program.status(last) == 0xdead)
  }

  @Test("addresses of the next option return as they came, and so does the size")
  func unchanged() {
    let second = program.addBare(1234, size: 7)
    let first = program.addBare(1234, size: .max, before: second)
    #expect(register(first) == EOPNOTSUPP)
    #expect(program.option(first).nro_next == second && program.option(second).nro_next == 0)
    #expect(program.option(first).nro_size == .max && program.option(second).nro_size == 7)
    #expect(program.option(first).nro_reqtype == 1234)
  }
}
