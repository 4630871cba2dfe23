import CNetmap
import Testing

@testable import NetmapRequests

@Suite("Layouts of requests")
struct RequestLayoutTests {
  @Test("the header, the legacy request and the configuration message are laid out as in netmap.h")
  func outerStructures() {
    typealias Header = RequestLayout.Header
    #expect(MemoryLayout<nmreq_header>.size == Header.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_version) == Header.version)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_reqtype) == Header.type)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_reserved) == Header.reserved)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_name) == Header.name)
    #expect(Int(NETMAP_REQ_IFNAMSIZ) == Header.nameByteCount)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_options) == Header.options)
    #expect(MemoryLayout.offset(of: \nmreq_header.nr_body) == Header.body)
    typealias Legacy = RequestLayout.Legacy
    #expect(MemoryLayout<nmreq>.size == Legacy.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq.nr_name) == Legacy.name)
    #expect(Int(NETMAP_IFNAMSIZ) == Legacy.nameByteCount)
    #expect(MemoryLayout.offset(of: \nmreq.nr_version) == Legacy.version)
    #expect(MemoryLayout.offset(of: \nmreq.nr_offset) == Legacy.offset)
    #expect(MemoryLayout.offset(of: \nmreq.nr_memsize) == Legacy.memorySize)
    #expect(MemoryLayout.offset(of: \nmreq.nr_tx_slots) == Legacy.counts.transmitSlots)
    #expect(MemoryLayout.offset(of: \nmreq.nr_rx_slots) == Legacy.counts.receiveSlots)
    #expect(MemoryLayout.offset(of: \nmreq.nr_tx_rings) == Legacy.counts.transmitRings)
    #expect(MemoryLayout.offset(of: \nmreq.nr_rx_rings) == Legacy.counts.receiveRings)
    #expect(MemoryLayout.offset(of: \nmreq.nr_ringid) == Legacy.ringID)
    #expect(MemoryLayout.offset(of: \nmreq.nr_cmd) == Legacy.command)
    #expect(MemoryLayout.offset(of: \nmreq.nr_arg1) == Legacy.argument1)
    #expect(MemoryLayout.offset(of: \nmreq.nr_arg2) == Legacy.argument2)
    #expect(MemoryLayout.offset(of: \nmreq.nr_arg3) == Legacy.argument3)
    #expect(MemoryLayout.offset(of: \nmreq.nr_flags) == Legacy.flags)
    typealias Configuration = RequestLayout.Configuration
    #expect(MemoryLayout<nm_ifreq>.size == Configuration.byteCount)
    #expect(MemoryLayout.offset(of: \nm_ifreq.nifr_name) == Configuration.name)
    #expect(MemoryLayout.offset(of: \nm_ifreq.data) == Configuration.data)
    #expect(Int(NM_IFRDATA_LEN) == Configuration.dataByteCount)
  }

  @Test("bodies about ports are laid out as in netmap.h")
  func portBodies() {
    typealias Register = RequestLayout.Register
    #expect(MemoryLayout<nmreq_register>.size == Register.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_offset) == Register.offset)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_memsize) == Register.memorySize)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_tx_slots) == Register.counts.transmitSlots)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_rx_slots) == Register.counts.receiveSlots)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_tx_rings) == Register.counts.transmitRings)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_rx_rings) == Register.counts.receiveRings)
    #expect(
      MemoryLayout.offset(of: \nmreq_register.nr_host_tx_rings)
        == Register.counts.hostTransmitRings)
    #expect(
      MemoryLayout.offset(of: \nmreq_register.nr_host_rx_rings) == Register.counts.hostReceiveRings)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_mem_id) == Register.memoryID)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_ringid) == Register.ringID)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_mode) == Register.mode)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_extra_bufs) == Register.extraBuffers)
    #expect(MemoryLayout.offset(of: \nmreq_register.nr_flags) == Register.flags)
    typealias Info = RequestLayout.PortInfo
    #expect(MemoryLayout<nmreq_port_info_get>.size == Info.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_memsize) == Info.memorySize)
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_tx_slots) == Info.counts.transmitSlots)
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_rx_slots) == Info.counts.receiveSlots)
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_tx_rings) == Info.counts.transmitRings)
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_rx_rings) == Info.counts.receiveRings)
    #expect(
      MemoryLayout.offset(of: \nmreq_port_info_get.nr_host_tx_rings)
        == Info.counts.hostTransmitRings)
    #expect(
      MemoryLayout.offset(of: \nmreq_port_info_get.nr_host_rx_rings) == Info.counts.hostReceiveRings
    )
    #expect(MemoryLayout.offset(of: \nmreq_port_info_get.nr_mem_id) == Info.memoryID)
    typealias Pools = RequestLayout.Pools
    #expect(MemoryLayout<nmreq_pools_info>.size == Pools.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_pools_info.nr_memsize) == Pools.memorySize)
    #expect(MemoryLayout.offset(of: \nmreq_pools_info.nr_mem_id) == Pools.memoryID)
    #expect(MemoryLayout.offset(of: \nmreq_pools_info.nr_if_pool_offset) == Pools.interfaces)
    #expect(MemoryLayout.offset(of: \nmreq_pools_info.nr_ring_pool_offset) == Pools.rings)
    #expect(MemoryLayout.offset(of: \nmreq_pools_info.nr_buf_pool_offset) == Pools.buffers)
    #expect(
      MemoryLayout.offset(of: \nmreq_pools_info.nr_buf_pool_objtotal)
        == Pools.buffers + Pools.poolObjectCount)
    #expect(
      MemoryLayout.offset(of: \nmreq_pools_info.nr_buf_pool_objsize)
        == Pools.buffers + Pools.poolObjectSize)
  }

  @Test("bodies about switches and loops are laid out as in netmap.h")
  func switchBodies() {
    typealias Attach = RequestLayout.Attach
    #expect(MemoryLayout<nmreq_vale_attach>.size == Attach.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_vale_attach.reg) == 0)
    #expect(MemoryLayout.offset(of: \nmreq_vale_attach.port_index) == Attach.portIndex)
    #expect(MemoryLayout<nmreq_vale_detach>.size == RequestLayout.Detach.byteCount)
    #expect(
      MemoryLayout.offset(of: \nmreq_vale_detach.port_index) == RequestLayout.Detach.portIndex)
    typealias List = RequestLayout.List
    #expect(MemoryLayout<nmreq_vale_list>.size == List.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_vale_list.nr_bridge_idx) == List.switchIndex)
    #expect(MemoryLayout.offset(of: \nmreq_vale_list.nr_port_idx) == List.portIndex)
    #expect(MemoryLayout<nmreq_port_hdr>.size == RequestLayout.PortHeader.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_port_hdr.nr_hdr_len) == RequestLayout.PortHeader.length)
    typealias New = RequestLayout.NewInterface
    #expect(MemoryLayout<nmreq_vale_newif>.size == New.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_vale_newif.nr_tx_slots) == New.counts.transmitSlots)
    #expect(MemoryLayout.offset(of: \nmreq_vale_newif.nr_rx_slots) == New.counts.receiveSlots)
    #expect(MemoryLayout.offset(of: \nmreq_vale_newif.nr_tx_rings) == New.counts.transmitRings)
    #expect(MemoryLayout.offset(of: \nmreq_vale_newif.nr_rx_rings) == New.counts.receiveRings)
    #expect(MemoryLayout.offset(of: \nmreq_vale_newif.nr_mem_id) == New.memoryID)
    typealias Polling = RequestLayout.Polling
    #expect(MemoryLayout<nmreq_vale_polling>.size == Polling.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_vale_polling.nr_mode) == Polling.mode)
    #expect(MemoryLayout.offset(of: \nmreq_vale_polling.nr_first_cpu_id) == Polling.firstCPU)
    #expect(MemoryLayout.offset(of: \nmreq_vale_polling.nr_num_polling_cpus) == Polling.cpuCount)
    #expect(MemoryLayout<nmreq_sync_kloop_start>.size == RequestLayout.LoopStart.byteCount)
    #expect(
      MemoryLayout.offset(of: \nmreq_sync_kloop_start.sleep_us) == RequestLayout.LoopStart.sleep)
  }

  @Test("options are laid out as in netmap.h")
  func options() {
    typealias Option = RequestLayout.Option
    let header = Option.byteCount
    #expect(MemoryLayout<nmreq_option>.size == header)
    #expect(MemoryLayout.offset(of: \nmreq_option.nro_next) == Option.next)
    #expect(MemoryLayout.offset(of: \nmreq_option.nro_reqtype) == Option.type)
    #expect(MemoryLayout.offset(of: \nmreq_option.nro_status) == Option.status)
    #expect(MemoryLayout.offset(of: \nmreq_option.nro_size) == Option.size)
    typealias Memory = RequestLayout.ExternalMemory
    #expect(MemoryLayout<nmreq_opt_extmem>.size == header + Memory.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_opt_extmem.nro_usrptr) == header + Memory.address)
    #expect(MemoryLayout.offset(of: \nmreq_opt_extmem.nro_info) == header + Memory.pools)
    typealias Blocks = RequestLayout.ControlBlocks
    #expect(MemoryLayout<nmreq_opt_csb>.size == header + Blocks.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_opt_csb.csb_atok) == header + Blocks.applicationToEngine)
    #expect(MemoryLayout.offset(of: \nmreq_opt_csb.csb_ktoa) == header + Blocks.engineToApplication)
    #expect(
      MemoryLayout<nmreq_opt_sync_kloop_mode>.size == header + RequestLayout.LoopMode.byteCount)
    #expect(
      MemoryLayout.offset(of: \nmreq_opt_sync_kloop_mode.mode)
        == header + RequestLayout.LoopMode.mode)
    #expect(NMREQ_OPT_SYNC_KLOOP_EVENTFDS_OFFSET == header)
    #expect(
      NMREQ_OPT_SYNC_KLOOP_EVENTFDS_STRIDE == RequestLayout.EventDescriptors.stride)
    typealias Offsets = RequestLayout.Offsets
    #expect(MemoryLayout<nmreq_opt_offsets>.size == header + Offsets.byteCount)
    #expect(MemoryLayout.offset(of: \nmreq_opt_offsets.nro_max_offset) == header + Offsets.maximum)
    #expect(
      MemoryLayout.offset(of: \nmreq_opt_offsets.nro_initial_offset) == header + Offsets.initial)
    #expect(MemoryLayout.offset(of: \nmreq_opt_offsets.nro_offset_bits) == header + Offsets.bits)
    #expect(
      MemoryLayout.offset(of: \nmreq_opt_offsets.nro_tx_align)
        == header + Offsets.transmitAlignment)
    #expect(MemoryLayout.offset(of: \nmreq_opt_offsets.nro_min_gap) == header + Offsets.minimumGap)
  }

  @Test(
    "request types have netmap's numbers and body sizes",
    arguments: [
      (NETMAP_REQ_REGISTER, RequestType.register, 56), (NETMAP_REQ_PORT_INFO_GET, .portInfo, 32),
      (NETMAP_REQ_VALE_ATTACH, .attach, 64), (NETMAP_REQ_VALE_DETACH, .detach, 8),
      (NETMAP_REQ_VALE_LIST, .list, 8), (NETMAP_REQ_PORT_HDR_SET, .setHeaderLength, 8),
      (NETMAP_REQ_PORT_HDR_GET, .headerLength, 8), (NETMAP_REQ_VALE_NEWIF, .createInterface, 16),
      (NETMAP_REQ_VALE_DELIF, .removeInterface, 0),
      (NETMAP_REQ_VALE_POLLING_ENABLE, .startPolling, 16),
      (NETMAP_REQ_VALE_POLLING_DISABLE, .stopPolling, 16),
      (NETMAP_REQ_POOLS_INFO_GET, .poolsInfo, 64), (NETMAP_REQ_SYNC_KLOOP_START, .startLoop, 8),
      (NETMAP_REQ_SYNC_KLOOP_STOP, .stopLoop, 0), (NETMAP_REQ_CSB_ENABLE, .enableControlBlocks, 0),
    ])
  func types(number: Int, type: RequestType, size: Int) {
    #expect(RequestType(rawValue: UInt16(number)) == type)
    #expect(type.bodyByteCount == size)
  }

  @Test("option types have netmap's numbers")
  func optionTypes() {
    #expect(Int(OptionType.externalMemory.rawValue) == NETMAP_REQ_OPT_EXTMEM)
    #expect(Int(OptionType.eventDescriptors.rawValue) == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
    #expect(Int(OptionType.controlBlocks.rawValue) == NETMAP_REQ_OPT_CSB)
    #expect(Int(OptionType.loopMode.rawValue) == NETMAP_REQ_OPT_SYNC_KLOOP_MODE)
    #expect(Int(OptionType.offsets.rawValue) == NETMAP_REQ_OPT_OFFSETS)
    #expect(OptionType.allCases.count == NETMAP_REQ_OPT_MAX - 1)
  }
}
