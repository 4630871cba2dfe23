import CNetmap
import Glibc
import NetmapRequests
import Testing

@Suite("Requests other than register")
struct OtherRequestTests {
  let program = SimulatedProgram()

  /// Performs a request with a body, and returns the body that comes back.
  func perform<Body: BitwiseCopyable>(
    _ type: Int, _ name: String, _ body: Body, options: UInt64 = 0, expecting code: Int32 = 0
  ) -> Body {
    let address = program.memory.add(body)
    let request = ControlMemory(program, type, name, body: address, options: options)
    #expect(program.control(request) == code)
    return program.memory.get(at: address)
  }

  @Test("PORT_INFO_GET passes name, hints and memory, and returns all counts")
  func portInfo() throws {
    var body = nmreq_port_info_get()
    body.nr_tx_slots = 1
    body.nr_rx_slots = 2
    body.nr_tx_rings = 3
    body.nr_rx_rings = 4
    body.nr_host_tx_rings = 5
    body.nr_host_rx_rings = 6
    body.nr_mem_id = 7
    body.pad = (1, 2, 3)
    let after = perform(NETMAP_REQ_PORT_INFO_GET, "eth0", body)
    let call = try #require(program.server.asked)
    #expect(call.name.description == "eth0" && call.memoryID == 7)
    #expect(call.hints.transmitSlots == 1 && call.hints.receiveSlots == 2)
    #expect(call.hints.transmitRings == 3 && call.hints.receiveRings == 4)
    #expect(call.hints.hostTransmitRings == 5 && call.hints.hostReceiveRings == 6)
    #expect(after.nr_memsize == 0x3_0004_0000 && after.nr_mem_id == 78)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12)
    #expect(after.nr_host_tx_rings == 13 && after.nr_host_rx_rings == 14)
    #expect(after.pad == (1, 2, 3))
  }

  @Test("PORT_INFO_GET with an empty name returns memory, and leaves the counts")
  func memoryInfo() {
    program.server.infoAnswer.counts = nil
    var body = nmreq_port_info_get()
    body.nr_tx_slots = 1
    body.nr_host_rx_rings = 6
    let after = perform(NETMAP_REQ_PORT_INFO_GET, "", body)
    #expect(program.server.asked?.name.isEmpty == true)
    #expect(after.nr_memsize == 0x3_0004_0000 && after.nr_mem_id == 78)
    #expect(after.nr_tx_slots == 1 && after.nr_host_rx_rings == 6 && after.nr_rx_rings == 0)
  }

  @Test("POOLS_INFO_GET passes name and memory, and returns all pools")
  func poolsInfo() throws {
    var body = nmreq_pools_info()
    body.nr_mem_id = 9
    let after = perform(NETMAP_REQ_POOLS_INFO_GET, "eth0", body)
    let call = try #require(program.server.askedForPools)
    #expect(call.name.description == "eth0" && call.memoryID == 9)
    #expect(after.nr_memsize == 0x5_0006_0000 && after.nr_mem_id == 79)
    #expect(after.nr_if_pool_offset == 0 && after.nr_if_pool_objtotal == 100)
    #expect(after.nr_if_pool_objsize == 1024)
    #expect(after.nr_ring_pool_offset == 0x19000 && after.nr_ring_pool_objtotal == 200)
    #expect(after.nr_ring_pool_objsize == 36864)
    #expect(after.nr_buf_pool_offset == 0x7_0000_0000 && after.nr_buf_pool_objtotal == 16384)
    #expect(after.nr_buf_pool_objsize == 2048)
  }

  @Test("VALE_ATTACH passes a whole register body, and returns the port's index and region")
  func attach() throws {
    var body = nmreq_vale_attach()
    body.reg.nr_mode = UInt32(NR_REG_NIC_SW)
    body.reg.nr_mem_id = 3
    body.reg.nr_tx_slots = 512
    body.reg.nr_flags = .max
    let after = perform(NETMAP_REQ_VALE_ATTACH, "vale0:eth0", body)
    let call = try #require(program.server.attached)
    #expect(call.name.description == "vale0:eth0")
    #expect(call.binding.mode == 3 && call.binding.memoryID == 3)
    #expect(call.binding.hints.transmitSlots == 512 && call.binding.flags.rawValue == 0x3ef00)
    #expect(after.port_index == 0x7_0005 && after.reg.nr_mem_id == 80)
    #expect(after.reg.nr_mode == 3 && after.reg.nr_tx_slots == 512)
    program.server.attachAnswer.memoryID = nil
    #expect(perform(NETMAP_REQ_VALE_ATTACH, "vale0:eth0", body).reg.nr_mem_id == 3)
  }

  @Test("VALE_DETACH returns the port's former index")
  func detach() {
    let after = perform(NETMAP_REQ_VALE_DETACH, "vale0:eth0", nmreq_vale_detach())
    #expect(after.port_index == 5)
    #expect(program.server.name?.description == "vale0:eth0")
  }

  @Test("VALE_LIST passes the indexes, and returns indexes and a name in the header")
  func list() throws {
    program.server.listAnswer.name = RequestName("vale0:b".utf8)
    var body = nmreq_vale_list()
    body.nr_bridge_idx = 1
    body.nr_port_idx = 0xffff_fffe
    let address = program.memory.add(body)
    let request = ControlMemory(program, NETMAP_REQ_VALE_LIST, "", body: address)
    // The bytes behind the new name's NUL are the program's.
    request.setName([0] + [UInt8](repeating: 68, count: 63))
    #expect(program.control(request) == 0)
    let call = try #require(program.server.listed)
    #expect(call.name.isEmpty && call.switchIndex == 1 && call.portIndex == 0xffff_fffe)
    let after: nmreq_vale_list = program.memory.get(at: address)
    #expect(after.nr_bridge_idx == 3 && after.nr_port_idx == 0x1_0009)
    #expect(
      request.name == Array("vale0:b".utf8) + [0] + [UInt8](repeating: 68, count: 55) + [0])
  }

  @Test("VALE_LIST with a name leaves the name")
  func find() {
    let address = program.memory.add(nmreq_vale_list())
    let request = ControlMemory(program, NETMAP_REQ_VALE_LIST, "vale0:c", body: address)
    #expect(program.control(request) == 0)
    #expect(program.server.listed?.name.description == "vale0:c")
    #expect(Array(request.name.prefix(8)) == Array("vale0:c".utf8) + [0])
  }

  @Test("a listed name is cut to 63 bytes")
  func longListedName() {
    program.server.listAnswer.name = RequestName([UInt8](repeating: 69, count: 100))
    let address = program.memory.add(nmreq_vale_list())
    let request = ControlMemory(program, NETMAP_REQ_VALE_LIST, "", body: address)
    #expect(program.control(request) == 0)
    #expect(request.name == [UInt8](repeating: 69, count: 63) + [0])
  }

  @Test("PORT_HDR_SET takes 0, 10 and 12", arguments: [0, 10, 12] as [UInt32])
  func setHeader(length: UInt32) {
    var body = nmreq_port_hdr()
    body.nr_hdr_len = length
    let after = perform(NETMAP_REQ_PORT_HDR_SET, "vale0:a", body)
    #expect(after.nr_hdr_len == length && program.server.length == length)
    #expect(program.server.name?.description == "vale0:a")
  }

  @Test(
    "PORT_HDR_SET with another length gives EINVAL before the port is looked for",
    arguments: [1, 11, 13, 0x1_000a, .max] as [UInt32])
  func setOddHeader(length: UInt32) {
    var body = nmreq_port_hdr()
    body.nr_hdr_len = length
    program.server.refusal = RequestErrno(rawValue: ENXIO)
    _ = perform(NETMAP_REQ_PORT_HDR_SET, "vale0:a", body, expecting: EINVAL)
    #expect(program.server.log.isEmpty)
  }

  @Test("PORT_HDR_GET returns the length, whatever the body says")
  func header() {
    var body = nmreq_port_hdr()
    body.nr_hdr_len = 99
    #expect(perform(NETMAP_REQ_PORT_HDR_GET, "vale0:a", body).nr_hdr_len == 0x2_000c)
  }

  @Test("VALE_NEWIF passes and returns counts and region")
  func create() throws {
    var body = nmreq_vale_newif()
    body.nr_tx_slots = 1
    body.nr_rx_slots = 2
    body.nr_tx_rings = 3
    body.nr_rx_rings = 4
    body.nr_mem_id = 5
    body.pad1 = 6
    let after = perform(NETMAP_REQ_VALE_NEWIF, "v0", body)
    let call = try #require(program.server.created)
    #expect(call.name.description == "v0" && call.memoryID == 5)
    #expect(call.counts.transmitSlots == 1 && call.counts.receiveSlots == 2)
    #expect(call.counts.transmitRings == 3 && call.counts.receiveRings == 4)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12)
    #expect(after.nr_mem_id == 81 && after.pad1 == 6)
  }

  @Test("VALE_DELIF has no body")
  func remove() {
    #expect(program.control(ControlMemory(program, NETMAP_REQ_VALE_DELIF, "v0")) == 0)
    #expect(program.server.log == ["remove"] && program.server.name?.description == "v0")
  }

  @Test(
    "polling requests pass mode and CPUs as they are, and return them",
    arguments: [
      (NETMAP_REQ_VALE_POLLING_ENABLE, "start polling"),
      (NETMAP_REQ_VALE_POLLING_DISABLE, "stop polling"),
    ])
  func polling(type: Int, log: String) throws {
    var body = nmreq_vale_polling()
    body.nr_mode = 99
    body.nr_first_cpu_id = .max
    body.nr_num_polling_cpus = 3
    let after = perform(type, "vale0:eth0", body)
    let call = try #require(program.server.polled)
    #expect(call.mode == 99 && call.firstCPU == .max && call.cpuCount == 3)
    #expect(call.name.description == "vale0:eth0" && program.server.log == [log])
    #expect(after.nr_mode == 99 && after.nr_first_cpu_id == .max && after.nr_num_polling_cpus == 3)
  }

  @Test("CSB_ENABLE without the option gives EINVAL; other options do not help")
  func enableWithoutOption() {
    #expect(program.control(ControlMemory(program, NETMAP_REQ_CSB_ENABLE)) == EINVAL)
    let option = program.add(nmreq_opt_offsets(), NETMAP_REQ_OPT_OFFSETS)
    let request = ControlMemory(program, NETMAP_REQ_CSB_ENABLE, options: option)
    #expect(program.control(request) == EINVAL)
    #expect(program.server.log.isEmpty && program.status(option) == EOPNOTSUPP)
  }

  @Test("CSB_ENABLE gives the option the status of the request")
  func enable() throws {
    for refusal in [nil, RequestErrno(rawValue: EFAULT)] {
      program.server.refusal = refusal
      var body = nmreq_opt_csb()
      body.csb_atok = 0x10
      body.csb_ktoa = 0x800
      let option = program.add(body, NETMAP_REQ_OPT_CSB)
      let request = ControlMemory(program, NETMAP_REQ_CSB_ENABLE, options: option)
      #expect(program.control(request) == refusal?.rawValue ?? 0)
      #expect(program.status(option) == refusal?.rawValue ?? 0)
      let blocks = try #require(program.server.blocks)
      #expect(blocks.applicationToEngine == 0x10 && blocks.engineToApplication == 0x800)
    }
  }

  @Test("SYNC_KLOOP_START passes pause, descriptors and mode; the statuses return")
  func startLoop() throws {
    let option = program.memory.reserve(24 + 3 * 8)
    var header = nmreq_option()
    header.nro_reqtype = UInt32(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
    // Two rings, and a half.
    header.nro_size = 24 + 20
    var mode = nmreq_opt_sync_kloop_mode()
    mode.mode = 7
    header.nro_next = program.add(mode, NETMAP_REQ_OPT_SYNC_KLOOP_MODE)
    program.memory.put(header, at: option)
    program.memory.put([4, -1, 6, 7, 8].map { Int32($0) }, at: option + 24)
    var body = nmreq_sync_kloop_start()
    body.sleep_us = .max
    _ = perform(NETMAP_REQ_SYNC_KLOOP_START, "", body, options: option)
    let call = try #require(program.server.loop)
    #expect(call.sleepMicroseconds == .max && call.mode?.rawValue == 7)
    let descriptors = try #require(call.eventDescriptors)
    #expect(descriptors.size == 44 && descriptors.rings.count == 2)
    #expect(descriptors.rings[0].toEngine == 4 && descriptors.rings[0].toApplication == -1)
    #expect(descriptors.rings[1].toEngine == 6 && descriptors.rings[1].toApplication == 7)
    #expect(program.status(option) == 0 && program.status(header.nro_next) == 0)
  }

  @Test("a refused SYNC_KLOOP_START returns the statuses that the server has set")
  func refusedLoop() {
    program.server.refusal = .invalidArgument
    program.server.status = .refused(.invalidArgument)
    program.server.recognized = .eventDescriptors
    let mode = program.add(nmreq_opt_sync_kloop_mode(), NETMAP_REQ_OPT_SYNC_KLOOP_MODE)
    let option = program.addBare(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, size: 3, before: mode)
    _ = perform(
      NETMAP_REQ_SYNC_KLOOP_START, "", nmreq_sync_kloop_start(), options: option, expecting: EINVAL)
    #expect(program.status(option) == EINVAL && program.status(mode) == EOPNOTSUPP)
    #expect(program.server.loop?.eventDescriptors?.rings.isEmpty == true)
  }

  @Test("SYNC_KLOOP_STOP has no body")
  func stopLoop() {
    #expect(program.control(ControlMemory(program, NETMAP_REQ_SYNC_KLOOP_STOP)) == 0)
    #expect(program.server.log == ["stop loop"])
  }

  @Test("a refusal by the server is the result of every request", arguments: 1...15)
  func refusals(type: Int) {
    program.server.refusal = RequestErrno(rawValue: ENODEV)
    let size = RequestType(rawValue: UInt16(type))?.bodyByteCount ?? 0
    let body = size == 0 ? 0 : program.memory.reserve(size)
    let option = program.add(nmreq_opt_csb(), NETMAP_REQ_OPT_CSB)
    let request = ControlMemory(program, type, body: body, options: option)
    #expect(program.control(request) == ENODEV)
    #expect(program.server.log.count == 1)
  }
}

extension SimulatedMemory {
  fileprivate func put(_ values: [Int32], at address: UInt64) {
    for (index, value) in values.enumerated() { put(value, at: address + UInt64(4 * index)) }
  }
}
